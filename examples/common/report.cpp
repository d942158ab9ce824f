#include "examples/common/report.h"

#include <fmt/core.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <map>

#include "ops/op.h"
#include "runtime/replace_file.h"

namespace {

void WriteFile(const std::string& path, const std::string& text) {
  athanor::ReplaceFile(path, [&](std::ostream& file) { file << text; });
}

std::string LossCurve(const std::vector<float>& losses) {
  constexpr double kWidth = 720, kHeight = 320, kMargin = 40;
  const double top = losses.empty() ? 1 : *std::max_element(losses.begin(), losses.end());
  auto x = [&](size_t i) {
    return kMargin + (kWidth - 2 * kMargin) * static_cast<double>(i) / std::max<double>(1, losses.size() - 1.0);
  };
  auto y = [&](double loss) { return kHeight - kMargin - (kHeight - 2 * kMargin) * loss / top; };
  std::string raw, smooth;
  double mean = losses.empty() ? 0 : losses[0];
  for (size_t i = 0; i < losses.size(); ++i) {
    mean += 0.05 * (losses[i] - mean);
    raw += fmt::format("{:.1f},{:.1f} ", x(i), y(losses[i]));
    smooth += fmt::format("{:.1f},{:.1f} ", x(i), y(mean));
  }
  return fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {0} {1}\" font-family=\"sans-serif\" font-size=\"12\">\n"
      "<rect width=\"{0}\" height=\"{1}\" fill=\"white\"/>\n"
      "<path d=\"M{2} {2}V{3}H{4}\" fill=\"none\" stroke=\"black\"/>\n"
      "<polyline points=\"{5}\" fill=\"none\" stroke=\"#9bc\" stroke-width=\"1\"/>\n"
      "<polyline points=\"{6}\" fill=\"none\" stroke=\"#036\" stroke-width=\"2\"/>\n"
      "<text x=\"{2}\" y=\"24\">loss, up to {7:.2f}</text><text x=\"{4}\" y=\"{8}\" text-anchor=\"end\">{9} "
      "steps</text>\n</svg>\n",
      kWidth, kHeight, kMargin, kHeight - kMargin, kWidth - kMargin, raw, smooth, top, kHeight - 14, losses.size());
}

std::string KindOf(const athanor::KernelReport& kernel, const athanor::Graph& graph) {
  if (kernel.skeleton != "contract") return kernel.skeleton;
  const athanor::Node& node = graph.node(kernel.origin.node);
  if (node.op->name != "conv2d") return "products";
  const athanor::Shape& weight = graph.desc(node.inputs[1]).shape;
  const auto& stride = athanor::Get<std::vector<int64_t>>(node.attrs, "stride");
  return weight[2] > stride[0] || weight[3] > stride[1] ? "convolutions" : "products";
}

}  // namespace

double Now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

void WriteLosses(const std::string& folder, const std::vector<float>& losses) {
  std::string table = "loss\n";
  for (float loss : losses) table += fmt::format("{}\n", loss);
  WriteFile(folder + "/loss.csv", table);
  WriteFile(folder + "/loss.svg", LossCurve(losses));
}

std::string TimeByKind(const athanor::Report& report, const athanor::Graph& graph) {
  std::map<std::string, double> ms;
  double total = 0;
  for (const athanor::KernelReport& kernel : report.kernels) ms[KindOf(kernel, graph)] += kernel.ms, total += kernel.ms;
  std::vector<std::pair<double, std::string>> sorted;
  for (const auto& [kind, time] : ms) sorted.emplace_back(time, kind);
  std::sort(sorted.rbegin(), sorted.rend());
  std::string text;
  for (const auto& [time, kind] : sorted)
    text += fmt::format("{}{} {:.1f} %", text.empty() ? "" : ", ", kind, 100 * time / total);
  return text;
}

Progress::Progress(int64_t first, int64_t total, int64_t items_per_step, std::string items)
    : first_(first),
      total_(total),
      items_per_step_(items_per_step),
      items_(std::move(items)),
      terminal_(isatty(STDOUT_FILENO)),
      start_(Now()) {}

void Progress::Show(int64_t done, float loss) {
  loss_ = loss_ == 0 ? loss : loss_ + 0.05 * (loss - loss_);
  const double now = Now();
  if (now - shown_ < (terminal_ ? 0.1 : 10) && done != total_) return;
  shown_ = now;
  const double seconds = std::max(now - start_, 1e-9), rate = static_cast<double>(done - first_) / seconds;
  const int filled = static_cast<int>(30 * done / std::max<int64_t>(total_, 1));
  fmt::print("{}[{}{}] {}/{}  loss {:.4f}  {:.0f} {}/s  {:.0f} s left{}", terminal_ ? "\r" : "", std::string(filled, '#'),
             std::string(30 - filled, '.'), done, total_, loss_, rate * static_cast<double>(items_per_step_), items_,
             static_cast<double>(total_ - done) / std::max(rate, 1e-9), terminal_ ? "   " : "\n");
  std::fflush(stdout);
}

void Progress::Finish() {
  if (terminal_) fmt::print("\n");
}
