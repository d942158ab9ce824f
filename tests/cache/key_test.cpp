#include "cache/key.h"

#include <gmock/gmock.h>

namespace athanor {
namespace {

TEST(CacheKeyTest, DigestsArePinned) {
  // Changing any of these orphans every cache in the world: then raise the suffix of entry names in cache.cpp instead.
  EXPECT_EQ(Digest(""), "99aa06d3014798d86001c324468d497f");
  EXPECT_EQ(Digest("athanor"), "e76a540dec6e4155b64c010a5cf0e841");
  EXPECT_EQ(CacheKey("binary").digest(), "1109da4364b10592146762c47a65ee67");
  EXPECT_EQ(CacheKey("schedule").Add("structure", "abc").Add("isa", "avx512f fma").digest(), "ecb6dc83b2d7a087f253b2df921a0531");
}

TEST(CacheKeyTest, TextIsTaggedAndDelimited) {
  EXPECT_EQ(CacheKey("binary").Add("source", "line\nline").Add("empty", "").text(),
            "kind 6\nbinary\nsource 9\nline\nline\nempty 0\n\n");
}

TEST(CacheKeyTest, BoundariesBetweenFieldsCount) {
  EXPECT_NE(CacheKey("k").Add("a", "1").Add("b", "23").text(), CacheKey("k").Add("a", "12").Add("b", "3").text());
  // A value that imitates the delimiters does not collide.
  EXPECT_NE(CacheKey("k").Add("a", "1\nb 1\n2").text(), CacheKey("k").Add("a", "1").Add("b", "2").text());
}

TEST(CacheKeyTest, ParseInvertsText) {
  const CacheKey key = CacheKey("binary").Add("source", std::string("a\0b\n 7\n", 7)).Add("isa", "");
  const auto parsed = CacheKey::Parse(key.text());
  ASSERT_TRUE(parsed.has_value());
  EXPECT_EQ(*parsed, key);
  EXPECT_EQ(parsed->fields(), key.fields());
  EXPECT_EQ(parsed->kind(), "binary");
}

TEST(CacheKeyTest, ParseRefusesEverythingElse) {
  for (const char* text : {"", "kind", "kind 1", "kind 1\n", "kind 1\nk", "kind 2\nk\n", "kind 01\nk\n", "kind +1\nk\n", "kind 1\nk\nx",
                           "kind 1\nK\n", "isa 1\nk\n", "kind 1\nk\na 1\nx\na 1\nx\n", "kind 18446744073709551616\nk\n",
                           "kind 18446744073709551615\nk\n", "kind 1\nk\nA 1\nx\n", " 1\nk\n", "kind 0\n\n"}) {
    EXPECT_FALSE(CacheKey::Parse(text).has_value()) << text;
  }
}

TEST(CacheKeyTest, MisuseIsALogicError) {
  EXPECT_THROW(CacheKey("../x"), std::logic_error);
  EXPECT_THROW(CacheKey(""), std::logic_error);
  EXPECT_THROW(CacheKey("k").Add("kind", "x"), std::logic_error);
  EXPECT_THROW(CacheKey("k").Add("a b", "x"), std::logic_error);
}

}  // namespace
}  // namespace athanor
