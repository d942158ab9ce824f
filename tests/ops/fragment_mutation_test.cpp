// A short deterministic fuzz of fragment reading: random changes to real fragment files, in their bytes and in their structure.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <random>
#include <sstream>
#include <vector>

#include <nlohmann/json.hpp>

#include "tests/fuzz/fragment_check.h"

namespace athanor {
namespace {

using Json = nlohmann::ordered_json;
using Random = std::mt19937;

size_t Below(Random& random, size_t n) { return std::uniform_int_distribution<size_t>(0, n - 1)(random); }

std::vector<std::string> Seeds() {
  std::vector<std::filesystem::path> paths;
  for (const char* folder : {"bench/fragments", "tests/fuzz/corpus/fragment_fuzz"}) {
    for (const auto& entry : std::filesystem::directory_iterator(std::filesystem::path(ATHANOR_SOURCE_DIR) / folder)) {
      if (entry.file_size() < 4096) paths.push_back(entry.path());
    }
  }
  std::sort(paths.begin(), paths.end());
  std::vector<std::string> seeds;
  for (const auto& path : paths) {
    std::stringstream text;
    text << std::ifstream(path).rdbuf();
    seeds.push_back(text.str());
  }
  return seeds;
}

// A value that may be wrong in an interesting way, or one that stands elsewhere in the document.
Json OddValue(Random& random, const std::vector<Json*>& places) {
  static const Json kOdd = Json::parse(R"([null, true, false, 0, 1, -1, 2, 3, 7, -3, 16, 64, 4096, 1000000007, 9223372036854775807,
      -9223372036854775808, 0.5, 1e308, "", "x", "y", "sum", "none", "mean", "f64", "i64", "bool", [], [0], [-1], [1, 1], [2, 3, 4], {}])");
  if (Below(random, 2) == 0) return *places[Below(random, places.size())];
  return kOdd[Below(random, kOdd.size())];
}

void Collect(Json& json, std::vector<Json*>* places) {
  places->push_back(&json);
  if (json.is_structured()) {
    for (Json& child : json) Collect(child, places);
  }
}

// Replaces, drops or repeats something in the document.
void MutateStructure(Json& document, Random& random) {
  std::vector<Json*> places;
  Collect(document, &places);
  Json& place = *places[Below(random, places.size())];
  const size_t action = Below(random, 4);
  if (action == 0 && place.is_array() && !place.empty()) {
    place.erase(place.begin() + static_cast<std::ptrdiff_t>(Below(random, place.size())));
  } else if (action == 1 && place.is_array() && !place.empty()) {
    const Json copy = place[Below(random, place.size())];
    place.push_back(copy);
  } else if (action == 2 && place.is_object() && !place.empty()) {
    place.erase(std::next(place.begin(), static_cast<std::ptrdiff_t>(Below(random, place.size()))));
  } else {
    const Json value = OddValue(random, places);
    place = value;
  }
}

void MutateBytes(std::string& text, Random& random) {
  const size_t at = Below(random, text.size());
  switch (Below(random, 4)) {
    case 0: text[at] = static_cast<char>(Below(random, 256)); break;
    case 1: text.erase(at, 1 + Below(random, 8)); break;
    case 2: text.insert(at, 1, "\"{}[],:0-e\\"[Below(random, 11)]); break;
    default: text.insert(at, text.substr(Below(random, text.size()), Below(random, 32)));
  }
}

TEST(FragmentMutation, SeedsAreAccepted) {
  for (const std::string& seed : Seeds()) {
    bool accepted = false;
    EXPECT_EQ(CheckFragmentText(seed, &accepted), "") << seed;
    EXPECT_TRUE(accepted) << seed;
  }
}

TEST(FragmentMutation, ChangedStructureIsReadOrRefused) {
  const std::vector<std::string> seeds = Seeds();
  ASSERT_FALSE(seeds.empty());
  Random random(20240607);
  int read = 0, refused = 0;
  for (int i = 0; i < 10000; ++i) {
    Json document = Json::parse(seeds[Below(random, seeds.size())]);
    for (size_t changes = 1 + Below(random, 2); changes > 0; --changes) MutateStructure(document, random);
    const std::string text = document.dump();
    bool accepted = false;
    ASSERT_EQ(CheckFragmentText(text, &accepted), "") << text;
    ++(accepted ? read : refused);
  }
  EXPECT_GT(read, 100);                                      // both sides are exercised
  EXPECT_GT(refused, 1000);
}

TEST(FragmentMutation, ChangedBytesAreReadOrRefused) {
  const std::vector<std::string> seeds = Seeds();
  Random random(7);
  for (int i = 0; i < 10000; ++i) {
    std::string text = seeds[Below(random, seeds.size())];
    for (size_t changes = 1 + Below(random, 3); changes > 0; --changes) MutateBytes(text, random);
    ASSERT_EQ(CheckFragmentText(text), "") << text;
  }
}

}  // namespace
}  // namespace athanor
