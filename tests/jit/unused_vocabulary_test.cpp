#include "jit/unused_vocabulary.h"

#include <gtest/gtest.h>

namespace athanor {
namespace {

TEST(UnusedVocabulary, IsDropped) {
  const char* types =
      "typedef float vf32 __attribute__((vector_size(64)));\n"
      "typedef int vi32 __attribute__((vector_size(64)));\n";
  const char* functions =
      "INLINE vf32 load(const float* p) { return *(const vf32*)p; }\n"
      "INLINE vi32 both(vi32 a,\n"
      "                 vi32 b) {\n"
      "  return a & b;\n"
      "}\n"
      "INLINE vf32 twice(const float* p) {\n"
      "  if (p) {\n"
      "    return load(p) * 2;\n"
      "  }\n"
      "  return load(p);\n"
      "}\n";
  const std::string text = std::string("#define INLINE static\n") + types + functions;
  EXPECT_EQ(WithoutUnusedVocabulary(text + "float f();\n").find("vf32"), std::string::npos);
  // What a function that is used needs stays, and what only one that is not used needs goes.
  const std::string used = WithoutUnusedVocabulary(text + "void g(float* p) { twice(p); }\n");
  EXPECT_NE(used.find("typedef float vf32"), std::string::npos);
  EXPECT_NE(used.find("INLINE vf32 load"), std::string::npos);
  EXPECT_NE(used.find("INLINE vf32 twice"), std::string::npos);
  EXPECT_EQ(used.find("vi32"), std::string::npos);
  EXPECT_NE(used.find("#define INLINE static\n"), std::string::npos);
  EXPECT_TRUE(used.ends_with("void g(float* p) { twice(p); }\n"));
  // A name inside of another is none.
  EXPECT_EQ(WithoutUnusedVocabulary(text + "int load_all;\n").find("INLINE vf32 load"), std::string::npos);
}

TEST(UnusedVocabulary, KeepsAllOverloads) {
  const std::string text = "INLINE int max(int a) { return a; }\nINLINE long max(long a) { return a; }\nlong x = max(1);\n";
  EXPECT_EQ(WithoutUnusedVocabulary(text), text);
}

TEST(UnusedVocabulary, TakesAnyText) {
  EXPECT_EQ(WithoutUnusedVocabulary(""), "");
  EXPECT_EQ(WithoutUnusedVocabulary("x"), "x");
  EXPECT_EQ(WithoutUnusedVocabulary("INLINE "), "INLINE ");
  EXPECT_EQ(WithoutUnusedVocabulary("INLINE f"), "");
  EXPECT_EQ(WithoutUnusedVocabulary("INLINE void f() {\n"), "");
  EXPECT_EQ(WithoutUnusedVocabulary("typedef "), "typedef ");
}

}  // namespace
}  // namespace athanor
