#include "bench/resources.h"

#include <filesystem>

#include "ops/error.h"

namespace athanor::bench {

std::string ResourcePath(const std::string& name) {
  std::error_code error;
  const std::filesystem::path program = std::filesystem::read_symlink("/proc/self/exe", error).parent_path();
  const std::filesystem::path relative = std::filesystem::path("share/athanor") / name;
  for (const std::filesystem::path& root : {program, program.parent_path()}) {
    if (std::filesystem::exists(root / relative, error)) return (root / relative).string();
  }
  Fail("{}: not found beside the program, neither under {} nor under {}", relative.string(), program.string(),
       program.parent_path().string());
}

}  // namespace athanor::bench
