#include "examples/common/arguments.h"

#include <cstdlib>
#include <limits>

void AddOptions(CLI::App& app, TrainingArguments& arguments) {
  app.add_option("--seed", arguments.seed, "Of the parameters, the order of the data and what is drawn")
      ->check(CLI::Range(0, std::numeric_limits<int>::max()))
      ->capture_default_str();
  app.add_option("--lr", arguments.peak_lr, "Highest learning rate")->check(CLI::Range(0.0, 1.0))->capture_default_str();
  app.add_option("--threads", arguments.threads, "0: all cores")->check(CLI::Range(0, 1024))->capture_default_str();
  app.add_option("--out", arguments.out, "Folder of the results")->capture_default_str();
  app.add_option("--checkpoint", arguments.checkpoint, "File of the state; OUT/checkpoint.safetensors by default");
  app.add_option("--resume", arguments.resume, "Goes on from a checkpoint");
}

void Parse(CLI::App& app, int argc, char** argv, TrainingArguments& arguments) {
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) std::exit(app.exit(error));  // --help
    throw;
  }
  if (arguments.checkpoint.empty()) arguments.checkpoint = arguments.out + "/checkpoint.safetensors";
}
