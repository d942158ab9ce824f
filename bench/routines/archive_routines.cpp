// Compiles the routines of the networks and of the benchmarks' fragments, forward and backward, for every instruction set (jit/routine_archive.h).
// usage: archive_routines FRAGMENTS [FILE]; FILE is where the library looks for it when not given.
#include <fmt/core.h>

#include <cstdio>
#include <exception>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "bench/models/registry.h"
#include "jit/compiler.h"
#include "jit/plan_builder.h"
#include "jit/routine_archive.h"
#include "jit/routines.h"
#include "jit/schedule.h"
#include "ops/decompose.h"
#include "ops/error.h"
#include "ops/fragment.h"
#include "ops/gradient.h"

namespace athanor {
namespace {

// A fragment, and the same in bf16.
std::vector<Graph> BothPrecisions(const std::string& path) {
  std::ifstream file(path);
  const std::string text(std::istreambuf_iterator<char>(file), {});
  std::string half = text;
  const std::string_view wide = "\"f32\"", narrow = "\"bf16\"";
  for (size_t at = 0; (at = half.find(wide, at)) != std::string::npos; at += narrow.size()) half.replace(at, wide.size(), narrow);
  std::vector<Graph> graphs;
  for (const std::string& version : {text, half}) graphs.push_back(ReadFragment(version, path));
  return graphs;
}

std::vector<Program> Programs(const std::string& fragments) {
  std::vector<Graph> graphs;
  for (const std::string& name : models::ModelNames()) {
    for (const char* batch : {"1", "8"}) {                   // addresses in a batch have a term more
      const std::string path = fmt::format("{}{}?batch={}", models::kModelPrefix, name, batch);
      graphs.push_back(models::LoadGraph(path));
      graphs.push_back(Gradient(models::LoadGraph(path, /*grad=*/true)));
    }
  }
  std::set<std::filesystem::path> paths;                     // in order: the archive is the same every time
  for (const auto& file : std::filesystem::directory_iterator(fragments)) paths.insert(file.path());
  for (const std::filesystem::path& path : paths) {
    for (Graph& graph : BothPrecisions(path)) graphs.push_back(path.stem().extension() == ".train" ? Gradient(graph) : std::move(graph));
  }
  std::vector<Program> programs;
  for (const Graph& graph : graphs) programs.push_back(BuildProgram(Decompose(graph)));
  return programs;
}

void AddRoutines(const std::vector<Program>& programs, const CpuTarget& cpu, RoutineArchive* archive) {
  const std::unique_ptr<Compiler> compiler = MakeClangCompiler(cpu);
  for (const Program& program : programs) {
    for (const KernelPlan& plan : program.kernels) {
      std::string text = GenerateCpp(plan, DefaultSchedule(plan, cpu), cpu).text;
      for (const Routine& routine : TakeRoutines(&text)) {
        const std::string key = RoutineArchive::Key(routine, cpu);
        if (!archive->Has(key)) archive->Add(key, compiler->CompileRoutine(routine));
      }
    }
  }
}

}  // namespace
}  // namespace athanor

int main(int argc, char** argv) {
  using namespace athanor;
  if (argc < 2 || argc > 3) {
    std::fprintf(stderr, "usage: archive_routines FRAGMENTS [FILE]\n");
    return 2;
  }
  try {
    const std::string path = argc > 2 ? argv[2] : RoutineArchivePath();
    const std::vector<Program> programs = Programs(argv[1]);
    RoutineArchive archive;
    for (const CpuTarget& cpu : AllTargets()) AddRoutines(programs, cpu, &archive);
    const std::vector<std::byte> bytes = Serialize(archive.image());
    std::ofstream file(path, std::ios::binary);
    file.write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
    if (!file.flush()) Fail("{} can't be written", path);
    std::printf("%zu routines, %zu bytes\n", archive.size(), bytes.size());
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "archive_routines: %s\n", error.what());
    return 1;
  }
}
