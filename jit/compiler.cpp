#include "jit/compiler.h"

#include <dlfcn.h>

#include <filesystem>

#include "ops/error.h"

namespace athanor {
namespace {

using MakeCompiler = Compiler*(const CpuTarget&);

// The plugin lies next to this library.
MakeCompiler* LoadPlugin() {
  Dl_info self;
  ATHANOR_CHECK(dladdr(reinterpret_cast<void*>(&CompilerIdentity), &self) != 0);
  const std::string path = (std::filesystem::path(self.dli_fname).parent_path() / "libathanor_clang.so").string();
  void* plugin = dlopen(path.c_str(), RTLD_LAZY | RTLD_LOCAL);  // to find all of clang's functions first would take half as long again
  if (plugin == nullptr) Fail("the compiler can't be loaded: {}", dlerror());
  void* make = dlsym(plugin, "athanor_make_clang_compiler");
  if (make == nullptr) Fail("{} is not Athanor's compiler plugin", path);
  return reinterpret_cast<MakeCompiler*>(make);
}

}  // namespace

Image Compiler::Compile(const KernelSource& source, std::string_view name) {
  const Job job{source.text, name};
  return std::move(CompileAll(std::span(&job, 1))[0].image);
}

std::string CompilerIdentity(const CpuTarget& cpu) {
  // The trailing number changes with the flags and passes in jit/clang.
  std::string identity = fmt::format("clang {} flags 7 {}", ATHANOR_CLANG_VERSION, Name(cpu.isa));
  for (const std::string& feature : cpu.features) identity += " " + feature;
  return identity;
}

std::unique_ptr<Compiler> MakeClangCompiler(const CpuTarget& cpu) {
  static MakeCompiler* const make = LoadPlugin();
  return std::unique_ptr<Compiler>(make(cpu));
}

}  // namespace athanor
