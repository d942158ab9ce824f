#include "jit/source_writer.h"

#include <gtest/gtest.h>

namespace athanor {
namespace {

TEST(SourceWriter, KeepsDefinitionsThatAreUsed) {
  SourceWriter out;
  out.Open("void f()");
  out.Define("a1", "long a1 = {};", 1);
  out.Define("a2", "long a2 = 2;");
  out.Define("a10", "long a10 = a2;");
  out.OpenBlock();
  out.Define("b", "long b = 3;");
  out.Line("g(a10, aa1, a1_);");
  out.Close();
  out.Line("return;");
  out.Close();
  EXPECT_EQ(out.text(), "void f() {\n  long a2 = 2;\n  long a10 = a2;\n  {\n    g(a10, aa1, a1_);\n  }\n  return;\n}\n");
}

TEST(SourceWriter, DropsWhatOnlyDroppedDefinitionsUse) {
  SourceWriter out;
  out.Open("void f()");
  out.Define("a", "long a = 1;");
  out.Define("b", "long b = a;");
  out.Close(" else {}");
  EXPECT_EQ(out.text(), "void f() {\n} else {}\n");
}

}  // namespace
}  // namespace athanor
