// No text given as a launch plan does more than be refused with an error, or be read; what was read is written as a text that reads as the same.
#include <cstdint>
#include <cstdlib>
#include <string>

#include "ops/error.h"
#include "runtime/launch_plan.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace athanor;
  try {
    const LaunchPlan plan = ReadLaunchPlan({reinterpret_cast<const char*>(data), size}, 2, 1);
    for (const auto& launch : plan.launches) {
      if (launch.kernel < 0 || launch.kernel >= static_cast<int>(plan.kernels.size())) std::abort();
    }
    const std::string text = WriteLaunchPlan(plan);
    if (WriteLaunchPlan(ReadLaunchPlan(text, 2, 1)) != text) std::abort();
  } catch (const Error&) {
  }
  return 0;
}
