#include "examples/common/interrupt.h"

#include <csignal>

namespace {

volatile std::sig_atomic_t interrupted = 0;
void OnInterrupt(int) { interrupted = 1; }

}  // namespace

void WatchForInterrupt() { std::signal(SIGINT, OnInterrupt); }
bool Interrupted() { return interrupted != 0; }
