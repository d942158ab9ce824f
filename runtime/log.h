#pragma once

#include <string>

namespace athanor {

// The log: lines on standard error, "athanor: warning: ...". `level` as in Options::log_level.
void SetLogLevel(const std::string& level);
void LogWarning(const std::string& text);
void LogInfo(const std::string& text);

}  // namespace athanor
