#include "cache/merge.h"

#include <gmock/gmock.h>

#include <fstream>

#include "tests/cache/temporary_directory.h"

namespace athanor {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

std::vector<std::byte> Bytes(std::string_view text) {
  const auto bytes = std::as_bytes(std::span(text));
  return {bytes.begin(), bytes.end()};
}

CacheKey Key(const std::string& name) { return CacheKey("schedule").Add("plan", name); }
std::string NameOf(const CacheKey& key) { return key.kind() + "-" + key.digest() + ".v1"; }

class MergeTest : public testing::Test {
 protected:
  std::unique_ptr<Cache> Open(const std::string& name) {
    return Cache::Open(directory_ / name, [](const std::string& text) { ADD_FAILURE() << text; });
  }
  TemporaryDirectory directory_;
};

TEST_F(MergeTest, UnionWithTheSameChoiceInEitherOrder) {
  for (const auto& [into_name, from_name] : {std::pair("a", "b"), std::pair("d", "c")}) {
    auto into = Open(into_name), from = Open(from_name);
    const bool swapped = into_name[0] == 'd';
    Cache& first = swapped ? *from : *into;
    Cache& second = swapped ? *into : *from;
    first.Put(Key("both"), Bytes("loop task=2"));
    second.Put(Key("both"), Bytes("loop task=1"));
    first.Put(Key("same"), Bytes("x")), second.Put(Key("same"), Bytes("x"));
    first.Put(Key("first"), Bytes("1")), second.Put(Key("second"), Bytes("2"));
    const MergeResult result = Merge(*from, *into);
    EXPECT_EQ(result.added, 1);
    EXPECT_EQ(result.replaced, swapped ? 0 : 1);
    EXPECT_EQ(result.kept, swapped ? 2 : 1);
    EXPECT_EQ(into->Get(Key("both")), Bytes("loop task=1"));
    EXPECT_EQ(into->Get(Key("first")), Bytes("1"));
    EXPECT_EQ(into->Get(Key("second")), Bytes("2"));
    EXPECT_EQ(Merge(*from, *into).added + Merge(*from, *into).replaced, 0);
  }
  const CacheDifference difference = Compare(*Open("a"), *Open("d"));
  EXPECT_EQ(difference.same, 4);
  EXPECT_THAT(difference.only_first, IsEmpty());
  EXPECT_THAT(difference.only_second, IsEmpty());
  EXPECT_THAT(difference.different, IsEmpty());
}

TEST_F(MergeTest, ComparesByContent) {
  auto a = Open("a"), b = Open("b");
  a->Put(Key("both"), Bytes("1")), b->Put(Key("both"), Bytes("2"));
  a->Put(Key("a"), Bytes("")), b->Put(Key("b"), Bytes(""));
  a->Put(Key("same"), Bytes("3")), b->Put(Key("same"), Bytes("3"));
  const CacheDifference difference = Compare(*a, *b);
  EXPECT_THAT(difference.only_first, ElementsAre(NameOf(Key("a"))));
  EXPECT_THAT(difference.only_second, ElementsAre(NameOf(Key("b"))));
  EXPECT_THAT(difference.different, ElementsAre(NameOf(Key("both"))));
  EXPECT_EQ(difference.same, 1);
}

TEST_F(MergeTest, UnusableEntriesAreLeftOutAndDiffer) {
  auto a = Open("a"), b = Open("b");
  a->Put(Key("k"), Bytes("1")), b->Put(Key("k"), Bytes("1"));
  std::ofstream(directory_ / ("a/" + NameOf(Key("k"))), std::ios::binary) << "junk";
  EXPECT_THAT(Compare(*a, *b).different, ElementsAre(NameOf(Key("k"))));
  const MergeResult result = Merge(*a, *b);
  EXPECT_EQ(result.unusable, 1);
  EXPECT_EQ(b->Get(Key("k")), Bytes("1"));
}

}  // namespace
}  // namespace athanor
