#include "jit/routine_archive.h"

#include <gtest/gtest.h>

#include <set>
#include <string>
#include <utility>
#include <vector>

#include "jit/compiler.h"
#include "jit/prelude.h"
#include "ops/error.h"
#include "tests/jit/kernel_runner.h"

namespace athanor {
namespace {

using testing::CompilerFor;
using testing::Targets;

Routine PackSquares(const CpuTarget& cpu) {
  Prelude prelude(cpu, cpu.vector_bytes() / 4);
  prelude.Use("pack_squares", DType::kF32);
  std::string text = prelude.Text();
  return TakeRoutines(&text).at(0);
}

TEST(RoutineArchive, GivesBackWhatItWasGiven) {
  RoutineArchive archive;
  archive.Add("a", {"f", {1, 2, 3}, 1});
  archive.Add("b", {"g", {4}, 0});
  const RoutineArchive read(DeserializeImage(Serialize(archive.image())));
  EXPECT_EQ(read.size(), 2u);
  EXPECT_TRUE(read.Has("a"));
  const std::optional<MachineCode> a = read.Find("a", "h"), b = read.Find("b", "g");
  ASSERT_TRUE(a && b);
  EXPECT_EQ(a->name, "h");
  EXPECT_EQ(a->bytes, (std::vector<uint8_t>{1, 2, 3}));
  EXPECT_EQ(a->entry, 1u);
  EXPECT_EQ(b->bytes, std::vector<uint8_t>{4});
  EXPECT_FALSE(read.Find("c", "f"));
}

TEST(RoutineArchive, RefusesOtherImages) {
  Image image{std::vector<std::byte>(10), {{"a", 0}, {"a.entry", 2}, {"a.last", 9}}};
  RoutineArchive whole(image);
  for (const auto& [symbol, offset] : std::vector<std::pair<std::string, int64_t>>{{"a", 3}, {"a.entry", 10}, {"a.last", 1}, {"a.last", 10}}) {
    Image damaged = image;
    damaged.symbols[symbol] = offset;
    EXPECT_THROW(RoutineArchive{damaged}, Error) << symbol;
    damaged.symbols.erase(symbol == "a" ? "a.entry" : symbol);
    EXPECT_THROW(RoutineArchive{damaged}, Error) << symbol;
  }
}

// What the build has compiled is what would be compiled now.
TEST(RoutineArchive, IsThatOfThisCompiler) {
  for (const CpuTarget& cpu : Targets()) {
    const Routine routine = PackSquares(cpu);
    const std::optional<MachineCode> installed = InstalledRoutines().Find(RoutineArchive::Key(routine, cpu), routine.name);
    ASSERT_TRUE(installed) << RoutineArchivePath() << " is missing, or of another build";
    const MachineCode compiled = CompilerFor(cpu).CompileRoutine(routine);
    EXPECT_EQ(installed->bytes, compiled.bytes);
    EXPECT_EQ(installed->entry, compiled.entry);
  }
}

TEST(RoutineArchive, TellsTargetsAndWordsApart) {
  std::set<std::string> keys;
  for (const CpuTarget& cpu : AllTargets()) {
    Routine routine = PackSquares(cpu);
    keys.insert(RoutineArchive::Key(routine, cpu));
    routine.definition += " ";
    keys.insert(RoutineArchive::Key(routine, cpu));
  }
  EXPECT_EQ(keys.size(), 2 * AllTargets().size());
}

}  // namespace
}  // namespace athanor
