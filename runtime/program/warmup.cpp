#include <fmt/format.h>
#include <unistd.h>

#include <csignal>
#include <memory>

#include <nlohmann/json.hpp>

#include "bench/models/registry.h"
#include "cache/cache.h"
#include "ops/error.h"
#include "ops/gradient.h"
#include "runtime/executable.h"
#include "runtime/program/commands.h"

namespace athanor {
namespace {

struct Arguments {
  std::vector<std::string> fragments;
  std::string shard = "0/1";
  bool grad = false, json = false;
  double budget = 60;
  int threads = 0;
};

volatile std::sig_atomic_t interrupted = 0;

// "I/N": this process takes the fragments number I, I + N, I + 2 N, ... of the list.
std::pair<size_t, size_t> ParseShard(const std::string& text) {
  size_t index = 0, count = 0;
  int used = 0;
  if (std::sscanf(text.c_str(), "%zu/%zu%n", &index, &count, &used) != 2 || used != static_cast<int>(text.size()) || index >= count) {
    Fail("--shard {}: I/N with 0 <= I < N expected", text);
  }
  return {index, count};
}

void ShowProgress(const std::string& fragment, const TuneProgress& p) {
  const int filled = 20 * p.done / std::max(p.total, 1);
  fmt::print(stderr, "\r[{}{}] {}/{} {:<28.28} {:.2f} times faster   ", std::string(filled, '#'), std::string(20 - filled, '.'), p.done, p.total, fragment,
             p.best_ms > 0 ? p.heuristic_ms / p.best_ms : 1.0);
  if (p.done == p.total) fmt::print(stderr, "\n");
}

// Tuning is in vain where nothing can be kept.
void CheckCache(const std::string& directory) {
  if (directory.empty()) Fail("warmup: no cache directory is known; set ATHANOR_CACHE_DIR");
  std::string trouble;
  if (!Cache::Open(directory, [&](const std::string& text) { trouble = text; })->usable()) Fail("warmup: {}", trouble.substr(0, trouble.find(';')));
}

void Warmup(const Arguments& a) {
  const auto [index, count] = ParseShard(a.shard);
  nlohmann::ordered_json document = {{"fragments", nlohmann::ordered_json::array()}};
  std::signal(SIGINT, [](int) { interrupted = 1; });
  size_t mine = (a.fragments.size() + count - 1 - index) / count;
  for (size_t i = index; i < a.fragments.size() && !interrupted; i += count) {
    const Graph forward = models::LoadGraph(a.fragments[i], a.grad);
    const bool grad = a.grad || forward.name().find(".train") != std::string::npos;
    nlohmann::ordered_json kernels = nlohmann::ordered_json::array();
    Options options = ProgramOptions(a.threads);
    CheckCache(options.cache_directory);
    options.prefault = false;                                // it will not run
    options.tune = TuneMode::kFirst;
    options.tune_budget_seconds = a.budget / static_cast<double>(mine);
    options.tune_progress = [&](const TuneProgress& p) {
      if (isatty(STDERR_FILENO) && !a.json) ShowProgress(forward.name(), p);
      kernels.push_back({{"kernel", p.kernel}, {"schedule", p.schedule}, {"heuristic_ms", p.heuristic_ms}, {"best_ms", p.best_ms},
                         {"measured", p.measured}, {"quarantined", p.quarantined}});
      return interrupted == 0;
    };
    const auto executable = Executable::Compile(grad ? Gradient(forward) : forward, options);
    if (!executable->report().cache_kept) Fail("warmup: the cache directory {} can't be written, so nothing would be kept", options.cache_directory);
    document["fragments"].push_back({{"name", forward.name()}, {"grad", grad}, {"kernels", executable->report().kernels.size()}, {"tuned", kernels}});
    if (!a.json) fmt::print("{}: {} kernels, {} tuned\n", forward.name(), executable->report().kernels.size(), kernels.size());
  }
  document["interrupted"] = interrupted != 0;
  if (a.json) fmt::print("{}\n", document.dump(1));
}

}  // namespace

void AddWarmup(CLI::App& program, int* status) {
  auto arguments = std::make_shared<Arguments>();
  CLI::App* command = program.add_subcommand("warmup", "Tunes fragments and fills the cache; Ctrl-C keeps what is done");
  command->add_option("FRAGMENT", arguments->fragments, "Fragment files or model:NAME; a name that ends in .train asks for gradients itself")->required();
  command->add_flag("--grad", arguments->grad, "With gradients");
  command->add_option("--budget", arguments->budget, "Seconds of tuning, all fragments together")->check(CLI::Range(0.0, 1e6));
  command->add_option("--shard", arguments->shard, "I/N: every N-th fragment from number I on");
  command->add_option("--threads", arguments->threads, "Threads; all cores when not given")->check(CLI::Range(1, 1024));
  command->add_flag("--json", arguments->json, "One JSON document");
  command->callback([arguments, status] {
    Warmup(*arguments);
    *status = 0;
  });
}

}  // namespace athanor
