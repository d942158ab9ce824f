#include <fmt/format.h>

#include <memory>

#include "bench/models/registry.h"
#include "ops/fragment.h"
#include "runtime/program/commands.h"
#include "runtime/replace_file.h"

namespace athanor {
namespace {

struct Arguments {
  std::string model, out;
};

void Export(const Arguments& a) {
  const std::string text = WriteFragment(models::LoadGraph(a.model));
  if (a.out.empty()) {
    fmt::print("{}", text);
    return;
  }
  ReplaceFile(a.out, [&](std::ostream& file) { file << text; });
}

}  // namespace

void AddExport(CLI::App& program, int* status) {
  auto arguments = std::make_shared<Arguments>();
  CLI::App* command = program.add_subcommand("export", "Writes a model as a fragment file");
  command->add_option("FRAGMENT", arguments->model, "model:NAME, or a fragment file")->required();
  command->add_option("--out", arguments->out, "The file; standard output when not given");
  command->callback([arguments, status] {
    Export(*arguments);
    *status = 0;
  });
}

}  // namespace athanor
