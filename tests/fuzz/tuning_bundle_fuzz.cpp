// No text given as a bundle of tuning records does more than be refused with an error that says where, or be read; what was read
// is written as a text that reads as the same, and holds nothing but schedules.
#include <cstdint>
#include <cstdlib>

#include "jit/schedule.h"
#include "ops/error.h"
#include "runtime/tuning_bundle.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace athanor;
  constexpr std::string_view kWhere = "bundle under test";
  try {
    const std::vector<TuningRecord> records = ReadTuningBundle({reinterpret_cast<const char*>(data), size}, kWhere);
    const std::string text = WriteTuningBundle(records);
    if (WriteTuningBundle(ReadTuningBundle(text, kWhere)) != text) std::abort();
    for (const TuningRecord& record : records) {
      if (record.key.kind() != "schedule" || ToString(ParseSchedule(record.schedule)) != record.schedule) std::abort();
    }
  } catch (const Error& error) {
    if (!std::string_view(error.what()).starts_with(kWhere)) std::abort();
  }
  return 0;
}
