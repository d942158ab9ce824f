#include "examples/common/training_program.h"

#include <fmt/core.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "examples/common/arguments.h"
#include "examples/common/guarded.h"
#include "examples/common/interrupt.h"
#include "examples/common/report.h"
#include "jit/plan_builder.h"
#include "ops/decompose.h"
#include "ops/error.h"
#include "runtime/replace_file.h"

namespace {

struct Arguments : TrainingArguments {
  std::string program;
  Recipe recipe;
  int64_t max_steps = -1;
  std::string data = "/usr/share/datasets/fashion-mnist";
  bool first_step_only = false;
};

Arguments Parse(const TrainingProgram& program, int argc, char** argv) {
  Arguments a;
  a.program = program.name;
  a.recipe = program.recipe;
  a.seed = program.recipe.seed;
  a.peak_lr = program.recipe.peak_lr;
  a.out = program.out;
  CLI::App app{program.description};
  AddOptions(app, a);
  app.add_option("--epochs", a.recipe.epochs, "Passes over the 60,000 training images")->check(CLI::Range(1, 1000))->capture_default_str();
  app.add_option("--steps", a.max_steps, "Stop after that many steps, with a checkpoint");
  app.add_option("--data", a.data, "Folder of the data set")->capture_default_str();
  app.add_flag("--first-step-only", a.first_step_only, "Prints the milliseconds from start to the first step's end");
  Parse(app, argc, argv, a);
  a.recipe.seed = a.seed;
  a.recipe.peak_lr = a.peak_lr;
  return a;
}

athanor::Options MakeOptions(const Arguments& a, const std::string& cache) {
  athanor::Options options = athanor::Options::FromEnvironment(
      [&](const std::string& text) { fmt::print(stderr, "{}: warning: {}\n", a.program, text); });
  options.threads = a.threads;
  options.cache_directory = cache;
  return options;
}

// What a second process takes, from its start to the end of its first step, with the kernels in the cache.
double WarmFirstStep(const Arguments& a) {
  const std::string self = std::filesystem::read_symlink("/proc/self/exe").string();
  const std::string command =
      fmt::format("'{}' --first-step-only --threads {} --data '{}' --out '{}'", self, a.threads, a.data, a.out);
  std::FILE* pipe = popen(command.c_str(), "r");
  double ms = -1;
  const bool read = pipe != nullptr && std::fscanf(pipe, "%lf", &ms) == 1;
  if (pipe == nullptr || pclose(pipe) != 0 || !read) athanor::Fail("the second process failed: {}", command);
  return ms;
}

double Median(std::vector<double> values) {
  if (values.empty()) return 0;
  std::nth_element(values.begin(), values.begin() + values.size() / 2, values.end());
  return values[values.size() / 2];
}

int FirstStepOnly(const Arguments& a, const Dataset& train) {
  const double start = Now();
  ImageTrainer trainer(train, a.recipe, MakeOptions(a, a.out + "/cache"));
  trainer.Step();
  fmt::print("{:.2f}\n", (Now() - start) * 1e3);
  return 0;
}

struct Measurements {
  std::vector<float> losses;
  std::vector<double> step_ms;
  double first_step_ms = 0;  // from the start of the compilation
};

// Steps until `last`, or until Ctrl-C.
Measurements TakeSteps(ImageTrainer& trainer, int64_t last, int64_t batch, double start) {
  Measurements measured;
  WatchForInterrupt();
  Progress progress(trainer.done(), trainer.total_steps(), batch, "images");
  while (trainer.done() < last && !Interrupted()) {
    const double begin = Now();
    measured.losses.push_back(trainer.Step());
    measured.step_ms.push_back((Now() - begin) * 1e3);
    if (measured.losses.size() == 1) measured.first_step_ms = (Now() - start) * 1e3;
    progress.Show(trainer.done(), measured.losses.back());
  }
  progress.Finish();
  return measured;
}

struct Summary {
  double accuracy = 0;
  Measurements measured;
  size_t forward = 0, backward = 0, distinct = 0;            // kernels
  int64_t arena_bytes = 0;
  int threads = 0;
  std::string time_by_kind;
};

Summary Summarize(const Arguments& a, ImageTrainer& trainer, Measurements measured, const athanor::Options& options) {
  Summary s;
  s.accuracy = trainer.Accuracy(LoadFashionMnist(a.data, "t10k"), options);
  s.measured = std::move(measured);
  s.forward = athanor::BuildProgram(athanor::Decompose(a.recipe.network(a.recipe.batch, true))).kernels.size();
  trainer.ProfileStep();
  const athanor::Report& report = trainer.executable().report();
  s.backward = report.kernels.size() - s.forward;
  s.distinct = report.distinct_kernels;
  s.arena_bytes = report.arena_bytes;
  s.threads = report.threads;
  s.time_by_kind = TimeByKind(report, trainer.executable().graph());
  return s;
}

void WriteResults(const Arguments& a, const Summary& s) {
  const double warm_ms = WarmFirstStep(a), step_ms = Median(s.measured.step_ms);
  WriteLosses(a.out, s.measured.losses);
  const nlohmann::ordered_json result = {
      {"test_accuracy", s.accuracy},   {"epochs", a.recipe.epochs},
      {"step_ms_median", step_ms},     {"first_step_ms_cold", s.measured.first_step_ms},
      {"first_step_ms_warm", warm_ms}, {"kernels_forward", s.forward},
      {"kernels_backward", s.backward}, {"arena_mb", static_cast<double>(s.arena_bytes) / 1e6},
      {"threads", s.threads}};
  athanor::ReplaceFile(a.out + "/result.json", [&](std::ostream& file) { file << result.dump(2) << "\n"; });
  fmt::print("test accuracy   {:.4f}\n", s.accuracy);
  fmt::print("step            {:.1f} ms (median, {} threads)\n", step_ms, s.threads);
  fmt::print("first step      {:.0f} ms cold, {:.0f} ms warm in a new process\n", s.measured.first_step_ms, warm_ms);
  fmt::print("kernels         {} forward, {} backward and update, {} distinct\n", s.forward, s.backward, s.distinct);
  fmt::print("time            {}\n", s.time_by_kind);
  fmt::print("written         {}/result.json, loss.csv, loss.svg, checkpoint\n", a.out);
}

// Nothing where the training has stopped early.
std::optional<Summary> TrainToTheEnd(const Arguments& a, const Dataset& train) {
  // A fresh cache, so that the first step is a cold one.
  const std::string cache = a.out + "/cache";
  if (a.resume.empty()) std::filesystem::remove_all(cache);
  const athanor::Options options = MakeOptions(a, cache);

  const double start = Now();
  ImageTrainer trainer(train, a.recipe, options);
  if (!a.resume.empty()) trainer.Resume(a.resume);
  const int64_t total = trainer.total_steps(), last = a.max_steps < 0 ? total : std::min(total, trainer.done() + a.max_steps);
  Measurements measured = TakeSteps(trainer, last, a.recipe.batch, start);
  trainer.Save(a.checkpoint);
  if (trainer.done() == total) return Summarize(a, trainer, std::move(measured), options);
  fmt::print("stopped after step {}; go on with --resume {}\n", trainer.done(), a.checkpoint);
  return std::nullopt;
}

int Train(const Arguments& a) {
  std::filesystem::create_directories(a.out);
  std::optional<Summary> summary;
  {
    const Dataset train = LoadFashionMnist(a.data, "train");
    if (a.first_step_only) return FirstStepOnly(a, train);
    summary = TrainToTheEnd(a, train);
  }
  // The second process finds the memory that this one has given back, as it would after this one's end.
  if (summary) WriteResults(a, *summary);
  return 0;
}

}  // namespace

int RunTrainingProgram(const TrainingProgram& program, int argc, char** argv) {
  return Guarded(program.name, [&] { return Train(Parse(program, argc, argv)); });
}
