#include "cache/cache.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <memory>
#include <optional>
#include <sstream>

#include <nlohmann/json.hpp>

#include "cache/merge.h"
#include "ops/error.h"
#include "runtime/log.h"
#include "runtime/program/commands.h"
#include "runtime/replace_file.h"
#include "runtime/tuning_bundle.h"

namespace athanor {
namespace {

using Json = nlohmann::ordered_json;

struct Arguments {
  bool json = false;
  std::string name, file;
  std::vector<std::string> directories;
  double megabytes = 1000;
};

// Here a cache that can't be used is an error: there is nothing else to do without it.
std::unique_ptr<Cache> Open(const std::string& directory) {
  if (directory.empty()) Fail("cache: no cache directory is known; set ATHANOR_CACHE_DIR");
  auto trouble = std::make_shared<std::optional<std::string>>("");
  std::unique_ptr<Cache> cache = Cache::Open(directory, [trouble](const std::string& text) { *trouble ? **trouble = text, void() : LogWarning(text); });
  if (!cache->usable()) Fail("{}", (*trouble)->substr(0, (*trouble)->find(';')));
  trouble->reset();                                          // later ones are warnings
  return cache;
}
std::unique_ptr<Cache> Open() { return Open(ProgramOptions(0).cache_directory); }

// One that is compared or merged: it must be there already.
std::unique_ptr<Cache> OpenOther(const std::string& directory) {
  std::error_code error;
  if (!std::filesystem::is_directory(directory, error)) Fail("cache directory {}: is no directory", directory);
  return Open(directory);
}

Json ToJson(const Cache::Info& info) {
  Json json = {{"name", info.name}, {"bytes", info.bytes}, {"used", info.used}, {"fault", info.fault}};
  if (info.entry) {
    for (const CacheKey::Field& field : info.entry->key.fields()) json["key"][field.tag] = field.value;
  }
  return json;
}

void Print(const Json& document) { fmt::print("{}\n", document.dump(1)); }

std::string PayloadText(const CacheEntry& entry) { return {reinterpret_cast<const char*>(entry.payload.data()), entry.payload.size()}; }

int List(const Arguments& a) {
  Json document = Json::array();
  int64_t count = 0, bytes = 0;
  const std::unique_ptr<Cache> cache = Open();
  cache->ForEach([&](const Cache::Info& info) {
    ++count, bytes += info.bytes;
    if (a.json) document.push_back(ToJson(info));
    else fmt::print("{:>10}  {}{}\n", info.bytes, info.name, info.entry ? "" : "  unusable: " + info.fault);
  });
  if (a.json) Print(document);
  else fmt::print("{} entries, {:.1f} MB in {}\n", count, static_cast<double>(bytes) / 1e6, cache->directory());
  return 0;
}

int Show(const Arguments& a) {
  Json document = Json::array();
  bool found = false;
  Open()->ForEach([&](const Cache::Info& info) {
    if (info.name.find(a.name) == std::string::npos) return;
    found = true;
    if (a.json) return document.push_back(ToJson(info));
    fmt::print("{}\n", info.name);
    if (!info.entry) return fmt::print("  unusable: {}\n", info.fault);
    for (const CacheKey::Field& field : info.entry->key.fields()) fmt::print("  {}: {}\n", field.tag, field.value);
    if (info.entry->key.kind() == "schedule") fmt::print("  payload: {}\n", PayloadText(*info.entry));
  });
  if (!found) Fail("cache show: no entry's name contains '{}'", a.name);
  if (a.json) Print(document);
  return 0;
}

int Verify(const Arguments& a) {
  Json document = {{"entries", 0}, {"unusable", Json::array()}};
  int64_t count = 0;
  Open()->ForEach([&](const Cache::Info& info) {
    ++count;
    if (!info.entry) document["unusable"].push_back({{"name", info.name}, {"fault", info.fault}});
  });
  document["entries"] = count;
  const size_t bad = document["unusable"].size();
  if (a.json) {
    Print(document);
  } else {
    for (const Json& entry : document["unusable"]) fmt::print("{}: {}\n", entry["name"].get<std::string>(), entry["fault"].get<std::string>());
    fmt::print("{} entries, {} unusable\n", count, bad);
  }
  return bad > 0 ? 1 : 0;
}

int Clear(const Arguments& a) {
  const int removed = Open()->Clear();
  if (a.json) Print({{"removed", removed}});
  else fmt::print("{} files removed\n", removed);
  return 0;
}

int CollectGarbage(const Arguments& a) {
  const Cache::Eviction e = Open()->Evict(std::llround(a.megabytes * 1e6));
  if (a.json) {
    Print({{"removed", e.removed}, {"removed_bytes", e.removed_bytes}, {"kept", e.kept}, {"kept_bytes", e.kept_bytes}, {"in_use_bytes", e.in_use_bytes}});
  } else {
    fmt::print("{} files of {:.1f} MB removed, {} of {:.1f} MB kept, {:.1f} MB of them in use\n", e.removed, static_cast<double>(e.removed_bytes) / 1e6, e.kept,
               static_cast<double>(e.kept_bytes) / 1e6, static_cast<double>(e.in_use_bytes) / 1e6);
  }
  return 0;
}

int Export(const Arguments& a) {
  const std::vector<TuningRecord> records = CollectTuning(*Open());
  const std::string text = WriteTuningBundle(records);
  if (a.file.empty()) {
    fmt::print("{}", text);
    return 0;
  }
  ReplaceFile(a.file, [&](std::ostream& file) { file << text; });
  fmt::print("{} tuning records in {}\n", records.size(), a.file);
  return 0;
}

int Import(const Arguments& a) {
  std::ifstream file(a.file, std::ios::binary);
  std::stringstream text;
  if (!file || !(text << file.rdbuf())) Fail("{}: the bundle can't be read", a.file);
  const Additions r = ImportTuning(ReadTuningBundle(text.str(), a.file), *Open());
  if (a.json) Print({{"added", r.added}, {"replaced", r.replaced}, {"kept", r.kept}});
  else fmt::print("{} tuning records added, {} replaced, {} kept as they were\n", r.added, r.replaced, r.kept);
  return 0;
}

int MergeAll(const Arguments& a) {
  const std::unique_ptr<Cache> into = Open();
  MergeResult total;
  for (const std::string& directory : a.directories) {
    const MergeResult r = Merge(*OpenOther(directory), *into);
    total.added += r.added, total.replaced += r.replaced, total.kept += r.kept, total.unusable += r.unusable;
  }
  if (a.json) Print({{"added", total.added}, {"replaced", total.replaced}, {"kept", total.kept}, {"unusable", total.unusable}});
  else fmt::print("{} entries added, {} replaced, {} kept as they were, {} unusable ones left out\n", total.added, total.replaced, total.kept, total.unusable);
  return total.unusable > 0 ? 1 : 0;
}

// What a schedule says, to be compared by eye.
std::string Described(const Cache& cache, const std::string& name) {
  const auto info = cache.Find(name);
  if (!info) return "gone";
  if (!info->entry) return "unusable: " + info->fault;
  return info->entry->key.kind() == "schedule" ? PayloadText(*info->entry) : fmt::format("{} bytes", info->entry->payload.size());
}

int Diff(const Arguments& a) {
  const std::unique_ptr<Cache> here = Open(), there = OpenOther(a.directories[0]);
  const CacheDifference d = Compare(*here, *there);
  if (a.json) {
    Print({{"only_here", d.only_first}, {"only_there", d.only_second}, {"different", d.different}, {"same", d.same}});
  } else {
    for (const std::string& name : d.only_first) fmt::print("only in {}: {}\n", here->directory(), name);
    for (const std::string& name : d.only_second) fmt::print("only in {}: {}\n", there->directory(), name);
    for (const std::string& name : d.different) fmt::print("{}:\n  here:  {}\n  there: {}\n", name, Described(*here, name), Described(*there, name));
    fmt::print("{} entries only here, {} only there, {} differ, {} are the same\n", d.only_first.size(), d.only_second.size(), d.different.size(), d.same);
  }
  return d.only_first.empty() && d.only_second.empty() && d.different.empty() ? 0 : 1;
}

}  // namespace

void AddCache(CLI::App& program, int* status) {
  CLI::App* command = program.add_subcommand("cache", "The cache in one's hands");
  command->require_subcommand(1);
  auto a = std::make_shared<Arguments>();
  auto add = [&](const char* verb, const char* what, int (*action)(const Arguments&)) {
    CLI::App* sub = command->add_subcommand(verb, what);
    sub->callback([status, a, action] { *status = action(*a); });
    return sub;
  };
  auto with_json = [&](CLI::App* sub) {
    sub->add_flag("--json", a->json, "One JSON document");
    return sub;
  };
  with_json(add("ls", "Lists all entries", List));
  with_json(add("show", "The keys of the entries whose name contains NAME", Show))->add_option("NAME", a->name)->required();
  with_json(add("verify", "Checks all entries; status 1 when one is unusable", Verify));
  with_json(add("gc", "Removes what was not used for the longest time; never what was used within the last hour", CollectGarbage))
      ->add_option("--size", a->megabytes, "Megabytes to leave")->check(CLI::Range(0.0, 1e9))->capture_default_str();
  add("export", "Writes all tuned schedules as a bundle", Export)->add_option("--out", a->file, "The file; standard output when not given");
  with_json(add("import", "Adds the schedules of a bundle", Import))->add_option("FILE", a->file)->required();
  with_json(add("merge", "Adds the entries of other cache directories", MergeAll))->add_option("DIRECTORY", a->directories)->required();
  with_json(add("diff", "How another cache directory differs; status 1 when it does", Diff))->add_option("DIRECTORY", a->directories)->required()->expected(1);
  with_json(add("clear", "Removes all entries", Clear));
}

}  // namespace athanor
