#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <string>

// What every example that trains is told on its command line.
struct TrainingArguments {
  uint64_t seed = 0;
  double peak_lr = 1e-3;
  int threads = 0;  // 0: all cores
  std::string out, checkpoint, resume;
};

void AddOptions(CLI::App& app, TrainingArguments& arguments);

// Parses; --help prints and exits, a bad option throws CLI::ParseError. The checkpoint is in OUT where no other file is given.
void Parse(CLI::App& app, int argc, char** argv, TrainingArguments& arguments);
