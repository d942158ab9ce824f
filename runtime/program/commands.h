#pragma once

#include <CLI/CLI.hpp>

#include "runtime/options.h"

namespace athanor {

// The commands of the program: each registers itself with its options, and when chosen leaves its exit status in `*status`:
// 0 done, 1 ran and found something wrong. Bad input is an Error, which main turns into status 2.
void AddRun(CLI::App& program, int* status);
void AddBench(CLI::App& program, int* status);
void AddInfo(CLI::App& program, int* status);
void AddWarmup(CLI::App& program, int* status);
void AddExplain(CLI::App& program, int* status);
void AddDump(CLI::App& program, int* status);
void AddBreakdown(CLI::App& program, int* status);
void AddExport(CLI::App& program, int* status);
void AddCache(CLI::App& program, int* status);

// The switches of the environment; `threads` > 0 overrides theirs.
Options ProgramOptions(int threads);

}  // namespace athanor
