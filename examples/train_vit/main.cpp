// Trains a Vision Transformer on Fashion-MNIST; every kernel it runs was written by Athanor a moment before.
#include <fmt/core.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <filesystem>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "examples/common/guarded.h"
#include "examples/common/report.h"
#include "examples/train_vit/trainer.h"
#include "jit/plan_builder.h"
#include "ops/decompose.h"
#include "ops/error.h"
#include "runtime/replace_file.h"

namespace {

struct Arguments {
  TrainingPlan plan;
  int threads = 0;
  int64_t max_steps = -1;
  std::string data = "/usr/share/datasets/fashion-mnist", out = "build/demo", checkpoint, resume;
  bool first_step_only = false;
};

volatile std::sig_atomic_t interrupted = 0;
void OnInterrupt(int) { interrupted = 1; }

Arguments Parse(int argc, char** argv) {
  Arguments a;
  CLI::App app{"Trains a Vision Transformer on Fashion-MNIST."};
  app.add_option("--epochs", a.plan.epochs, "Passes over the 60,000 training images")->check(CLI::Range(1, 1000));
  app.add_option("--seed", a.plan.seed, "Of the parameters and the order of the images");
  app.add_option("--lr", a.plan.peak_lr, "Highest learning rate")->check(CLI::Range(0.0, 1.0));
  app.add_option("--threads", a.threads, "0: all cores")->check(CLI::Range(0, 1024));
  app.add_option("--steps", a.max_steps, "Stop after that many steps, with a checkpoint");
  app.add_option("--data", a.data, "Folder of the data set");
  app.add_option("--out", a.out, "Folder of the results");
  app.add_option("--checkpoint", a.checkpoint, "File of the state; OUT/checkpoint.safetensors by default");
  app.add_option("--resume", a.resume, "Goes on from a checkpoint");
  app.add_flag("--first-step-only", a.first_step_only, "Prints the milliseconds from start to the first step's end");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) std::exit(app.exit(error));  // --help
    throw;
  }
  if (a.checkpoint.empty()) a.checkpoint = a.out + "/checkpoint.safetensors";
  return a;
}

athanor::Options MakeOptions(const Arguments& a, const std::string& cache) {
  athanor::Options options = athanor::Options::FromEnvironment([](const std::string& text) { fmt::print(stderr, "train_vit: warning: {}\n", text); });
  options.threads = a.threads;
  options.cache_directory = cache;
  return options;
}

// What a second process takes, from its start to the end of its first step, with the kernels in the cache.
double WarmFirstStep(const Arguments& a) {
  const std::string self = std::filesystem::read_symlink("/proc/self/exe").string();
  const std::string command = fmt::format("'{}' --first-step-only --threads {} --data '{}' --out '{}'", self, a.threads, a.data, a.out);
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
  Trainer trainer(train, VitConfig(), a.plan, MakeOptions(a, a.out + "/cache"));
  trainer.Step();
  fmt::print("{:.2f}\n", (Now() - start) * 1e3);
  return 0;
}

int Train(const Arguments& a) {
  std::filesystem::create_directories(a.out);
  const Dataset train = LoadFashionMnist(a.data, "train");
  if (a.first_step_only) return FirstStepOnly(a, train);
  // A fresh cache, so that the first step is a cold one.
  const std::string cache = a.out + "/cache";
  if (a.resume.empty()) std::filesystem::remove_all(cache);
  const athanor::Options options = MakeOptions(a, cache);

  const double start = Now();
  Trainer trainer(train, VitConfig(), a.plan, options);
  if (!a.resume.empty()) trainer.Resume(a.resume);
  const int64_t first = trainer.done(), last = a.max_steps < 0 ? trainer.total_steps() : std::min(trainer.total_steps(), first + a.max_steps);
  std::vector<float> losses;
  std::vector<double> step_ms;
  double first_step_ms = 0;
  std::signal(SIGINT, OnInterrupt);
  Progress progress(first, trainer.total_steps(), VitConfig().batch, "images");
  while (trainer.done() < last && !interrupted) {
    const double begin = Now();
    losses.push_back(trainer.Step());
    step_ms.push_back((Now() - begin) * 1e3);
    if (losses.size() == 1) first_step_ms = (Now() - start) * 1e3;
    progress.Show(trainer.done(), losses.back());
  }
  progress.Finish();
  trainer.Save(a.checkpoint);
  if (trainer.done() < trainer.total_steps()) {
    fmt::print("stopped after step {}; go on with --resume {}\n", trainer.done(), a.checkpoint);
    return 0;
  }

  const double accuracy = trainer.Accuracy(LoadFashionMnist(a.data, "t10k"), options);
  const double warm_ms = WarmFirstStep(a);
  const auto forward = athanor::BuildProgram(athanor::Decompose(VisionTransformer(VitConfig(), true))).kernels.size();
  trainer.ProfileStep();
  const athanor::Report& report = trainer.report();
  WriteLossCurve(a.out + "/loss.svg", losses);
  const nlohmann::ordered_json result = {{"test_accuracy", accuracy}, {"epochs", a.plan.epochs}, {"step_ms_median", Median(step_ms)},
                                         {"first_step_ms_cold", first_step_ms}, {"first_step_ms_warm", warm_ms}, {"kernels_forward", forward},
                                         {"kernels_backward", report.kernels.size() - forward}, {"arena_mb", static_cast<double>(report.arena_bytes) / 1e6},
                                         {"threads", report.threads}};
  athanor::ReplaceFile(a.out + "/result.json", [&](std::ostream& file) { file << result.dump(2) << "\n"; });
  fmt::print("test accuracy   {:.4f}\nstep            {:.1f} ms (median, {} threads)\nfirst step      {:.0f} ms cold, {:.0f} ms warm in a new process\n",
             accuracy, Median(step_ms), report.threads, first_step_ms, warm_ms);
  fmt::print("kernels         {} forward, {} backward and update, {} distinct\ntime            {}\nwritten         {}/result.json, loss.svg, checkpoint\n",
             forward, report.kernels.size() - forward, report.distinct_kernels, TimeByKind(report), a.out);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  return Guarded("train_vit", [&] { return Train(Parse(argc, argv)); });
}
