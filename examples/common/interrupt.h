#pragma once

// Ctrl-C, as a request to stop cleanly.
void WatchForInterrupt();
bool Interrupted();
