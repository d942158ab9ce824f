#include "runtime/log.h"

#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>

namespace athanor {
namespace {

spdlog::logger& Logger() {
  static const std::shared_ptr<spdlog::logger> logger = [] {
    auto made = std::make_shared<spdlog::logger>("athanor", std::make_shared<spdlog::sinks::stderr_color_sink_mt>());
    made->set_pattern("athanor: %l: %v");
    made->set_level(spdlog::level::warn);
    return made;
  }();
  return *logger;
}

}  // namespace

void SetLogLevel(const std::string& level) { Logger().set_level(spdlog::level::from_str(level)); }
void LogWarning(const std::string& text) { Logger().warn("{}", text); }
void LogInfo(const std::string& text) { Logger().info("{}", text); }

}  // namespace athanor
