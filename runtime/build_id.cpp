#include "runtime/build_id.h"

#include <elf.h>
#include <fmt/format.h>
#include <link.h>

#include <cstring>

namespace athanor {
namespace {

struct Search {
  ElfW(Addr) inside = 0;                                     // an address of the module that is meant
  std::string id;
};

std::string FindInNotes(const char* at, const char* end) {
  const auto padded = [](size_t bytes) { return (bytes + 3) / 4 * 4; };
  while (at + sizeof(ElfW(Nhdr)) <= end) {
    ElfW(Nhdr) note;
    std::memcpy(&note, at, sizeof note);
    const char* name = at + sizeof note;
    const char* content = name + padded(note.n_namesz);
    at = content + padded(note.n_descsz);
    if (note.n_type != NT_GNU_BUILD_ID || note.n_namesz != 4 || std::memcmp(name, "GNU", 4) != 0) continue;
    std::string id;
    for (size_t i = 0; i < note.n_descsz; ++i) id += fmt::format("{:02x}", static_cast<unsigned char>(content[i]));
    return id;
  }
  return {};
}

int Visit(dl_phdr_info* module, size_t, void* context) {
  Search& search = *static_cast<Search*>(context);
  bool meant = false;
  for (int i = 0; i < module->dlpi_phnum; ++i) {
    const auto& part = module->dlpi_phdr[i];
    const ElfW(Addr) begin = module->dlpi_addr + part.p_vaddr;
    meant |= part.p_type == PT_LOAD && begin <= search.inside && search.inside < begin + part.p_memsz;
  }
  if (!meant) return 0;
  for (int i = 0; i < module->dlpi_phnum && search.id.empty(); ++i) {
    const auto& part = module->dlpi_phdr[i];
    const char* notes = reinterpret_cast<const char*>(module->dlpi_addr + part.p_vaddr);
    if (part.p_type == PT_NOTE) search.id = FindInNotes(notes, notes + part.p_memsz);
  }
  return 1;
}

}  // namespace

const std::string& BuildId() {
  static const std::string id = [] {
    Search search{reinterpret_cast<ElfW(Addr)>(&BuildId), {}};
    dl_iterate_phdr(Visit, &search);
    return search.id;
  }();
  return id;
}

}  // namespace athanor
