#pragma once

#include <functional>
#include <string_view>

// Runs an example and returns its exit status. What fails, a bad option or a full disk, is one line "NAME: error: ..." and
// status 2.
int Guarded(std::string_view name, const std::function<int()>& run);
