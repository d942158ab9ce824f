// Trains a small GPT on a text and continues a prompt with it, with and without a cache of keys and values.
#include <fmt/core.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>

#include "examples/common/arguments.h"
#include "examples/common/guarded.h"
#include "examples/common/interrupt.h"
#include "examples/common/report.h"
#include "examples/generate/sampler.h"
#include "examples/generate/trainer.h"
#include "ops/error.h"
#include "runtime/replace_file.h"

namespace {

struct Arguments : TrainingArguments {
  int64_t steps = 400, tokens = 200;
  double temperature = 0.5;
  std::string text = "/usr/share/common-licenses/GPL-3", prompt = "The ";
};

Arguments Parse(int argc, char** argv) {
  Arguments a;
  a.out = "build/generate";
  CLI::App app{"Trains a small GPT on the bytes of a text, then continues a prompt, with and without a KV cache."};
  AddOptions(app, a);
  app.add_option("--text", a.text, "File to learn from")->capture_default_str();
  app.add_option("--steps", a.steps, "Steps of training, those of a resumed checkpoint included")
      ->check(CLI::Range(0, 10'000'000))
      ->capture_default_str();
  app.add_option("--prompt", a.prompt, "Text to continue")->capture_default_str();
  app.add_option("--tokens", a.tokens, "Bytes to draw; with the prompt at most the context")
      ->check(CLI::Range(1, 1 << 20))
      ->capture_default_str();
  app.add_option("--temperature", a.temperature, "0: always the likeliest byte")
      ->check(CLI::Range(0.0, 100.0))
      ->capture_default_str();
  Parse(app, argc, argv, a);
  return a;
}

std::string ReadText(const std::string& path, int64_t context) {
  std::ifstream file(path, std::ios::binary);
  std::string text{std::istreambuf_iterator<char>(file), {}};
  if (!file.is_open() || file.bad()) athanor::Fail("{}: can't be read; give another file with --text", path);
  if (static_cast<int64_t>(text.size()) <= context) {
    athanor::Fail("{}: has {} bytes, more than {} are needed", path, text.size(), context);
  }
  return text;
}

// Both samples must be the same bytes: the cache changes what is computed, not what comes out.
void CheckSame(const Sample& whole, const Sample& cached) {
  const auto [at, other] = std::mismatch(whole.tokens.begin(), whole.tokens.end(), cached.tokens.begin(), cached.tokens.end());
  if (at != whole.tokens.end() || other != cached.tokens.end()) {
    athanor::Fail("token {} differs with and without the cache", at - whole.tokens.begin());
  }
}

int Run(const Arguments& a) {
  const GptConfig config;
  if (a.prompt.empty()) athanor::Fail("--prompt: is empty, expected at least one byte");
  const int64_t length = static_cast<int64_t>(a.prompt.size()) + a.tokens;
  if (length > config.context) {
    athanor::Fail("--tokens: prompt and sample have {} bytes, the context holds {}", length, config.context);
  }
  athanor::Options options =
      athanor::Options::FromEnvironment([](const std::string& text) { fmt::print(stderr, "generate: warning: {}\n", text); });
  options.threads = a.threads;
  std::filesystem::create_directories(a.out);

  Trainer trainer(ReadText(a.text, config.context), config, a.seed, a.peak_lr, options);
  if (!a.resume.empty()) trainer.Resume(a.resume);
  WatchForInterrupt();
  std::vector<float> losses;
  const double start = Now();
  Progress progress(trainer.done(), a.steps, config.batch * config.context, "tokens");
  while (trainer.done() < a.steps && !Interrupted()) {
    losses.push_back(trainer.Step());
    progress.Show(trainer.done(), losses.back());
  }
  const double step_ms = losses.empty() ? 0 : (Now() - start) * 1e3 / static_cast<double>(losses.size());
  progress.Finish();
  trainer.Save(a.checkpoint);
  const auto stopped = [&] {
    fmt::print("stopped after step {}; go on with --resume {}\n", trainer.done(), a.checkpoint);
    return 0;
  };
  if (Interrupted()) return stopped();

  const auto draw = [&](const std::unique_ptr<Predictor>& predictor) {
    return Draw(*predictor, a.prompt, a.tokens, a.temperature, a.seed, config.vocabulary, Interrupted);
  };
  const Sample whole = draw(MakeWholePredictor(config, trainer.tensors(), options));
  const Sample cached = draw(MakeCachedPredictor(config, trainer.tensors(), options));
  if (Interrupted()) return stopped();
  CheckSame(whole, cached);
  const std::string sample(cached.tokens.begin(), cached.tokens.end());
  const double tokens = static_cast<double>(a.tokens), speed_up = whole.seconds / cached.seconds;

  WriteLosses(a.out, losses);
  const nlohmann::ordered_json result = {{"losses", losses},
                                         {"step_ms", step_ms},
                                         {"tokens", cached.tokens},
                                         {"tokens_per_second_whole", tokens / whole.seconds},
                                         {"tokens_per_second_cached", tokens / cached.seconds},
                                         {"speed_up", speed_up},
                                         {"threads", trainer.report().threads}};
  athanor::ReplaceFile(a.out + "/result.json", [&](std::ostream& file) { file << result.dump(2) << "\n"; });
  fmt::print("{}\n\n", sample);
  fmt::print(
      "training        {:.1f} ms a step\nwithout cache   {:.0f} tokens/s\nwith cache      {:.0f} tokens/s, {:.1f} times as fast, "
      "the same {} tokens\n"
      "written         {}/result.json, loss.csv, loss.svg, checkpoint\n",
      step_ms, tokens / whole.seconds, tokens / cached.seconds, speed_up, a.tokens, a.out);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  return Guarded("generate", [&] { return Run(Parse(argc, argv)); });
}
