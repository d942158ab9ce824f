#include "runtime/tuning_bundle.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <span>

#include "jit/schedule.h"
#include "ops/error.h"
#include "ops/strict_json.h"
#include "runtime/schedules.h"

namespace athanor {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::string_view kFormat = "athanor.tuning/1";
constexpr std::array<std::string_view, 6> kFields = {"space",  "isa",     "cpu",
                                                     "caches", "threads", "plan"};  // of a schedule's key, in order
constexpr size_t kMaxText = 400;
constexpr size_t kMaxDigits = 8;  // of a number in a schedule: blocks are far smaller, and products of two stay in range

bool IsPlainText(std::string_view text) {
  return !text.empty() && text.size() <= kMaxText &&
         std::all_of(text.begin(), text.end(), [](char c) { return c >= ' ' && c <= '~'; });
}

bool IsNumber(std::string_view text, int64_t least, int64_t most) {
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size() && value >= least && value <= most &&
         text == std::to_string(value);
}

bool IsDigest(std::string_view text) {
  return text.size() == 32 && text.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

// The sizes of three caches.
bool AreCaches(std::string_view text) {
  for (int i = 0; i < 3; ++i) {
    const size_t end = std::min(text.find(' '), text.size());
    if (!IsNumber(text.substr(0, end), 0, int64_t{1} << 50) || (end == text.size()) != (i == 2)) return false;
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return true;
}

// Empty when `value` may stand in that field of a schedule's key; else what is expected.
std::string_view FieldFault(std::string_view field, std::string_view value) {
  if (!IsPlainText(value)) return "short printable text";
  if (field == "isa" && value != "avx2" && value != "avx512") return "avx2 or avx512";
  if (field == "caches" && !AreCaches(value)) return "the sizes of three caches";
  if (field == "threads" && !IsNumber(value, 1, 1024)) return "a number from 1 to 1024";
  if (field == "plan" && !IsDigest(value)) return "32 hexadecimal digits";
  return "";
}

// Empty when it is the text of a schedule.
std::string ScheduleFault(std::string_view text) {
  if (!IsPlainText(text)) return "is no short printable text";
  size_t digits = 0;
  for (char c : text) {
    digits = c >= '0' && c <= '9' ? digits + 1 : 0;
    if (digits > kMaxDigits) return fmt::format("a number has more than {} digits", kMaxDigits);
  }
  try {
    return ToString(ParseSchedule(text)) == text ? "" : "is not written as schedules are";
  } catch (const Error& error) {
    return error.what();
  }
}

TuningRecord ReadRecord(const Json& item, const std::string& place) {
  if (!item.is_object()) Fail("{}: an object expected", place);
  const auto text = [&](std::string_view name) -> std::string {
    const auto found = item.find(std::string(name));
    if (found == item.end() || !found->is_string()) Fail("{}: \"{}\": a string expected", place, name);
    return *found;
  };
  CacheKey key("schedule");
  for (std::string_view field : kFields) {
    const std::string value = text(field);
    if (const std::string_view expected = FieldFault(field, value); !expected.empty())
      Fail("{}: \"{}\": {} expected", place, field, expected);
    key.Add(field, value);
  }
  const std::string schedule = text("schedule");
  if (const std::string fault = ScheduleFault(schedule); !fault.empty()) Fail("{}: \"schedule\": {}", place, fault);
  if (item.size() != kFields.size() + 1) Fail("{}: {} fields given, {} expected", place, item.size(), kFields.size() + 1);
  return {std::move(key), schedule};
}

// The record of an entry, or nothing where it is none that anyone here could use.
std::optional<TuningRecord> ToRecord(const CacheEntry& entry) {
  const auto& fields = entry.key.fields();
  if (entry.key.kind() != "schedule" || fields.size() != kFields.size() + 1 || fields[1].value != kScheduleSpace)
    return std::nullopt;
  for (size_t i = 0; i < kFields.size(); ++i) {
    if (fields[i + 1].tag != kFields[i] || !FieldFault(kFields[i], fields[i + 1].value).empty()) return std::nullopt;
  }
  std::string schedule(reinterpret_cast<const char*>(entry.payload.data()), entry.payload.size());
  if (!ScheduleFault(schedule).empty()) return std::nullopt;
  return TuningRecord{entry.key, std::move(schedule)};
}

}  // namespace

std::vector<TuningRecord> CollectTuning(const Cache& cache) {
  std::vector<TuningRecord> records;
  cache.ForEach([&](const Cache::Info& info) {
    if (auto record = info.entry ? ToRecord(*info.entry) : std::nullopt) records.push_back(*std::move(record));
  });
  return records;
}

// One record a line, so that versions of a bundle can be compared as text.
std::string WriteTuningBundle(const std::vector<TuningRecord>& records) {
  std::string text = "{\"format\": " + Json(kFormat).dump() + ", \"records\": [";
  for (size_t i = 0; i < records.size(); ++i) {
    Json item;
    for (size_t f = 1; f < records[i].key.fields().size(); ++f)
      item[records[i].key.fields()[f].tag] = records[i].key.fields()[f].value;
    item["schedule"] = records[i].schedule;
    text += (i == 0 ? "\n" : ",\n") + item.dump();
  }
  return text + "\n]}\n";
}

std::vector<TuningRecord> ReadTuningBundle(std::string_view text, std::string_view where) {
  if (text.starts_with("ATHANOR\n")) {
    Fail(
        "{}: is an entry of a cache, which may hold machine code; only bundles of tuning records are imported (athanor cache "
        "export)",
        where);
  }
  const Json document = ParseStrictJson(text, where);
  const bool bundle = document.is_object() && document.contains("format") && document["format"] == std::string(kFormat);
  if (!bundle)
    Fail("{}: \"format\": \"{}\" expected; nothing but tuning records is imported, above all no machine code", where, kFormat);
  if (document.size() != 2 || !document.contains("records") || !document["records"].is_array()) {
    Fail("{}: \"format\" and a list \"records\" expected, and nothing else", where);
  }
  std::vector<TuningRecord> records;
  std::set<std::string> seen;
  for (const Json& item : document["records"]) {
    const std::string place = fmt::format("{}: records[{}]", where, records.size());
    records.push_back(ReadRecord(item, place));
    if (!seen.insert(records.back().key.text()).second) Fail("{}: stands twice", place);
  }
  return records;
}

Additions ImportTuning(const std::vector<TuningRecord>& records, Cache& cache) {
  Additions additions;
  for (const TuningRecord& record : records) AddCanonical(record.key, std::as_bytes(std::span(record.schedule)), cache, additions);
  return additions;
}

}  // namespace athanor
