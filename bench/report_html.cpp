#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "bench/report.h"

namespace athanor::bench {
namespace {

std::string Escape(std::string_view text) {
  std::string out;
  for (char c : text) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      default:
        out += c;
    }
  }
  return out;
}

// A logarithmic axis, from whole powers of ten to whole powers of ten.
class LogAxis {
 public:
  LogAxis(double least, double most, double begin, double end)
      : low_(std::floor(std::log10(least))), high_(std::max(std::ceil(std::log10(most)), low_ + 1)), begin_(begin), end_(end) {}
  double operator()(double value) const { return begin_ + (end_ - begin_) * (std::log10(value) - low_) / (high_ - low_); }
  double least() const { return std::pow(10, low_); }
  double most() const { return std::pow(10, high_); }

 private:
  double low_, high_, begin_, end_;
};

// GFLOP/s over FLOPs a byte, under the roof. What counts no FLOPs has no place in it.
std::string RooflinePicture(const Report& report) {
  constexpr double kLeft = 60, kRight = 740, kTop = 20, kBottom = 360;
  const double ridge = report.peak.gflops_f32 / report.peak.read_gbs;
  double least_x = ridge / 10, most_x = ridge * 10, least_y = report.peak.gflops_f32 / 10;
  for (const Result& r : report.results) {
    if (r.flops <= 0) continue;
    least_x = std::min(least_x, r.flops / r.bytes), most_x = std::max(most_x, r.flops / r.bytes),
    least_y = std::min(least_y, r.gflops());
  }
  const LogAxis x(least_x, most_x, kLeft, kRight),
      y(least_y, std::max(report.peak.gflops_f32, report.peak.gflops_bf16), kBottom, kTop);
  std::string svg = "<svg viewBox=\"0 0 760 400\">\n";
  for (double tick = x.least(); tick <= x.most() * 1.01; tick *= 10) {
    svg += fmt::format(
        "<path class=\"grid\" d=\"M{0:.1f} {1}V{2}\"/><text x=\"{0:.1f}\" y=\"{3}\" text-anchor=\"middle\">{4:g}</text>\n",
        x(tick), kTop, kBottom, kBottom + 16, tick);
  }
  for (double tick = y.least(); tick <= y.most() * 1.01; tick *= 10) {
    svg += fmt::format(
        "<path class=\"grid\" d=\"M{0} {1:.1f}H{2}\"/><text x=\"{3}\" y=\"{4:.1f}\" text-anchor=\"end\">{5:g}</text>\n", kLeft,
        y(tick), kRight, kLeft - 6, y(tick) + 4, tick);
  }
  // The roof begins where the slope enters the picture.
  const double first = std::max(x.least(), y.least() / report.peak.read_gbs);
  svg += fmt::format("<path class=\"roof\" d=\"M{:.1f} {:.1f}L{:.1f} {:.1f}H{}\"/>\n", x(first), y(first * report.peak.read_gbs),
                     x(ridge), y(report.peak.gflops_f32), kRight);
  svg += fmt::format("<text x=\"{}\" y=\"{:.1f}\" text-anchor=\"end\">{:.0f} GFLOP/s f32</text>\n", kRight,
                     y(report.peak.gflops_f32) - 6, report.peak.gflops_f32);
  svg += fmt::format("<text x=\"{}\" y=\"{}\" text-anchor=\"end\">FLOPs a byte</text><text x=\"{}\" y=\"12\">GFLOP/s</text>\n",
                     kRight, kBottom + 34, kLeft - 40);
  for (const Result& r : report.results) {
    if (r.flops <= 0) continue;
    svg += fmt::format(
        "<circle class=\"{}\" cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"4\"><title>{}: {:.1f} GFLOP/s, {:.2f} of the "
        "roofline</title></circle>\n",
        r.wrong() ? "wrong" : "ours", x(r.flops / r.bytes), y(r.gflops()), Escape(r.item.name), r.gflops(),
        r.roofline_fraction());
  }
  return svg + "</svg>\n";
}

// The fraction of the roofline of each fragment; peers are marks on the same scale.
std::string FractionBars(const Report& report) {
  constexpr double kLeft = 290, kUnit = 400, kStep = 20;
  const double height = kStep * static_cast<double>(report.results.size()) + 30;
  std::string svg = fmt::format(
      "<svg viewBox=\"0 0 760 {0:.0f}\">\n<path class=\"roof\" d=\"M{1} 0V{2:.0f}\"/><text x=\"{1}\" y=\"{3:.0f}\" "
      "text-anchor=\"middle\">1 = the roofline</text>\n",
      height, kLeft + kUnit, height - 24, height - 8);
  double top = 0;
  for (const Result& r : report.results) {
    const auto at = [&](double fraction) { return kLeft + kUnit * std::clamp(fraction, 0.0, 1.1); };
    svg += fmt::format(
        "<text x=\"{}\" y=\"{:.0f}\" text-anchor=\"end\">{}</text><rect class=\"{}\" x=\"{}\" y=\"{:.0f}\" width=\"{:.1f}\" "
        "height=\"14\"/><text x=\"{}\" y=\"{:.0f}\">{:.2f}</text>\n",
        kLeft - 8, top + 13, Escape(r.item.name), r.wrong() ? "wrong" : "ours", kLeft, top + 2, at(r.roofline_fraction()) - kLeft,
        kLeft + 6, top + 13, r.roofline_fraction());
    for (const auto& [name, time] : r.peers) {
      svg += fmt::format("<path class=\"peer\" d=\"M{:.1f} {:.0f}V{:.0f}\"><title>{}: {:.2f}</title></path>\n",
                         at(r.roofline_ms / time.ms_median), top, top + 18, Escape(name), r.roofline_ms / time.ms_median);
    }
    top += kStep;
  }
  return svg + "</svg>\n";
}

std::string Row(const Result& r) {
  std::string peers;
  for (const auto& [name, time] : r.peers)
    peers += fmt::format("{}{} {:.3f}", peers.empty() ? "" : ", ", Escape(name), time.ms_median);
  return fmt::format(
      "<tr><td>{}</td><td>{:.3f}</td><td>{:.1f} "
      "%</td><td>{:.1f}</td><td>{:.1f}</td><td>{:.2f}</td><td>{}</td><td>{}</td><td>{}</td></tr>\n",
      Escape(r.item.name), r.time.ms_median, 100 * r.time.noise, r.gflops(), r.gbs(), r.roofline_fraction(), r.kernels,
      r.judgement ? fmt::format("{:.1e}{}", r.judgement->error, r.wrong() ? " wrong" : "") : "unchecked", peers);
}

}  // namespace

std::string ToHtml(const Report& report) {
  std::string html =
      "<!DOCTYPE html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<title>athanor bench</title>\n<style>\n"
      "body { font: 14px sans-serif; max-width: 60em; margin: 2em auto }\nsvg { width: 100%; font-size: 11px }\ntable { "
      "border-collapse: collapse }\n"
      "td, th { padding: 2px 8px; text-align: right }\ntd:first-child, th:first-child { text-align: left }\ntr:nth-child(even) { "
      "background: #f3f3f3 }\n"
      ".grid { stroke: #ddd } .roof { stroke: #333; fill: none; stroke-width: 2 } .ours { fill: #39c } .wrong { fill: #c30 } "
      ".peer { stroke: #e80; stroke-width: 3 }\n</style>\n";
  html += fmt::format(
      "<h1>athanor bench</h1>\n<p>{}, {}, {} thread(s): measured peak {:.1f} GFLOP/s f32, {:.1f} bf16, reading {:.1f} "
      "GB/s.</p>\n",
      Escape(report.cpu.model), Name(report.cpu.isa), report.threads, report.peak.gflops_f32, report.peak.gflops_bf16,
      report.peak.read_gbs);
  html +=
      "<h2>Roofline</h2>\n<p>A point is a fragment that has products, convolutions or attention.</p>\n" + RooflinePicture(report);
  html +=
      "<h2>Fraction of the roofline</h2>\n<p>Above 1, part of the data stayed in the caches. A peer is an orange mark.</p>\n" +
      FractionBars(report);
  html +=
      "<h2>Numbers</h2>\n<table>\n<tr><th>fragment</th><th>ms</th><th>noise</th><th>GFLOP/s</th><th>GB/s</th><th>roofline</"
      "th><th>kernels</th><th>error</th><th>peers, ms</th></tr>\n";
  for (const Result& r : report.results) html += Row(r);
  return html + "</table>\n</html>\n";
}

}  // namespace athanor::bench
