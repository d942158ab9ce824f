#include "cache/cache.h"

#include <fmt/format.h>

#include <memory>

#include <nlohmann/json.hpp>

#include "ops/error.h"
#include "runtime/log.h"
#include "runtime/program/commands.h"

namespace athanor {
namespace {

using Json = nlohmann::ordered_json;

std::unique_ptr<Cache> Open() { return Cache::Open(ProgramOptions(0).cache_directory, LogWarning); }

Json ToJson(const Cache::Info& info) {
  Json json = {{"name", info.name}, {"bytes", info.bytes}, {"modified", info.modified}, {"fault", info.fault}};
  if (info.entry) {
    for (const CacheKey::Field& field : info.entry->key.fields()) json["key"][field.tag] = field.value;
  }
  return json;
}

int List(bool json) {
  Json document = Json::array();
  int64_t count = 0, bytes = 0;
  const std::unique_ptr<Cache> cache = Open();
  cache->ForEach([&](const Cache::Info& info) {
    ++count, bytes += info.bytes;
    if (json) document.push_back(ToJson(info));
    else fmt::print("{:>10}  {}{}\n", info.bytes, info.name, info.entry ? "" : "  unusable: " + info.fault);
  });
  if (json) fmt::print("{}\n", document.dump(1));
  else fmt::print("{} entries, {:.1f} MB in {}\n", count, static_cast<double>(bytes) / 1e6, cache->directory());
  return 0;
}

int Show(const std::string& name, bool json) {
  bool found = false;
  Open()->ForEach([&](const Cache::Info& info) {
    if (info.name.find(name) == std::string::npos) return;
    found = true;
    if (json) return fmt::print("{}\n", ToJson(info).dump(1));
    fmt::print("{}\n", info.name);
    if (!info.entry) return fmt::print("  unusable: {}\n", info.fault);
    for (const CacheKey::Field& field : info.entry->key.fields()) fmt::print("  {}: {}\n", field.tag, field.value);
    if (info.entry->key.kind() == "schedule") {
      fmt::print("  payload: {}\n", std::string(reinterpret_cast<const char*>(info.entry->payload.data()), info.entry->payload.size()));
    }
  });
  if (!found) Fail("cache show: no entry's name contains '{}'", name);
  return 0;
}

int Verify(bool json) {
  Json document = {{"entries", 0}, {"unusable", Json::array()}};
  int64_t count = 0;
  Open()->ForEach([&](const Cache::Info& info) {
    ++count;
    if (!info.entry) document["unusable"].push_back({{"name", info.name}, {"fault", info.fault}});
  });
  document["entries"] = count;
  const size_t bad = document["unusable"].size();
  if (json) {
    fmt::print("{}\n", document.dump(1));
  } else {
    for (const Json& entry : document["unusable"]) fmt::print("{}: {}\n", entry["name"].get<std::string>(), entry["fault"].get<std::string>());
    fmt::print("{} entries, {} unusable\n", count, bad);
  }
  return bad > 0 ? 1 : 0;
}

}  // namespace

void AddCache(CLI::App& program, int* status) {
  CLI::App* command = program.add_subcommand("cache", "The cache in one's hands");
  command->require_subcommand(1);
  auto json = std::make_shared<bool>(false);
  auto name = std::make_shared<std::string>();
  auto add = [&](const char* verb, const char* what, std::function<int()> action) {
    CLI::App* sub = command->add_subcommand(verb, what);
    sub->add_flag("--json", *json, "One JSON document");
    sub->callback([status, action = std::move(action)] { *status = action(); });
    return sub;
  };
  add("ls", "Lists all entries", [json] { return List(*json); });
  add("show", "The keys of the entries whose name contains NAME", [json, name] { return Show(*name, *json); })->add_option("NAME", *name)->required();
  add("verify", "Checks all entries; status 1 when one is unusable", [json] { return Verify(*json); });
  add("clear", "Removes all entries", [json] {
    const int removed = Open()->Clear();
    if (*json) fmt::print("{}\n", Json{{"removed", removed}}.dump());
    else fmt::print("{} files removed\n", removed);
    return 0;
  });
}

}  // namespace athanor
