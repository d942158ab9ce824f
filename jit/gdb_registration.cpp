#include "jit/gdb_registration.h"

#include <elf.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstring>
#include <mutex>
#include <string>

// The names and the layout are gdb's.
extern "C" {
struct jit_code_entry {
  jit_code_entry* next_entry;
  jit_code_entry* prev_entry;
  const char* symfile_addr;
  uint64_t symfile_size;
};
struct jit_descriptor {
  uint32_t version;
  uint32_t action_flag;
  jit_code_entry* relevant_entry;
  jit_code_entry* first_entry;
};
__attribute__((noinline, used, visibility("default"))) void __jit_debug_register_code() { asm volatile("" ::: "memory"); }
__attribute__((used, visibility("default"))) jit_descriptor __jit_debug_descriptor = {1, 0, nullptr, nullptr};
}

namespace athanor {
namespace {

enum Action : uint32_t { kRegister = 1, kUnregister = 2 };

std::mutex& Mutex() {
  static std::mutex mutex;
  return mutex;
}

std::atomic<bool> perf_map{false};

template <typename T>
size_t Append(std::vector<std::byte>* out, const T* data, size_t count) {
  const size_t offset = out->size();
  const auto* begin = reinterpret_cast<const std::byte*>(data);
  out->insert(out->end(), begin, begin + count * sizeof(T));
  return offset;
}

// Sections: null, .text (not in the file: it is in memory already), .symtab, .strtab (which also names the sections).
std::vector<std::byte> MakeElf(const std::byte* base, const Image& image) {
  std::string strings("\0.text\0.symtab\0.strtab\0", 23);
  std::vector<Elf64_Sym> symbols(1);
  for (const auto& [name, offset] : image.symbols) {
    Elf64_Sym symbol{};
    symbol.st_name = static_cast<Elf64_Word>(strings.size());
    symbol.st_info = ELF64_ST_INFO(STB_GLOBAL, STT_FUNC);
    symbol.st_shndx = 1;
    symbol.st_value = static_cast<Elf64_Addr>(offset);
    auto next = image.symbols.upper_bound(name);
    symbol.st_size = next == image.symbols.end() || next->second <= offset ? image.code.size() - offset : next->second - offset;
    symbols.push_back(symbol);
    strings += name + '\0';
  }
  std::vector<std::byte> elf(sizeof(Elf64_Ehdr));
  Elf64_Shdr sections[4] = {};
  sections[1] = {1, SHT_NOBITS, SHF_ALLOC | SHF_EXECINSTR, reinterpret_cast<Elf64_Addr>(base), 0, image.code.size(), 0, 0, 16, 0};
  sections[2] = {7, SHT_SYMTAB, 0, 0, Append(&elf, symbols.data(), symbols.size()), symbols.size() * sizeof(Elf64_Sym), 3, 1, 8,
                 sizeof(Elf64_Sym)};
  sections[3] = {15, SHT_STRTAB, 0, 0, Append(&elf, strings.data(), strings.size()), strings.size(), 0, 0, 1, 0};
  elf.resize((elf.size() + 7) / 8 * 8);
  Elf64_Ehdr header{};
  std::memcpy(header.e_ident, ELFMAG, SELFMAG);
  header.e_ident[EI_CLASS] = ELFCLASS64;
  header.e_ident[EI_DATA] = ELFDATA2LSB;
  header.e_ident[EI_VERSION] = EV_CURRENT;
  header.e_type = ET_REL;
  header.e_machine = EM_X86_64;
  header.e_version = EV_CURRENT;
  header.e_ehsize = sizeof(Elf64_Ehdr);
  header.e_shentsize = sizeof(Elf64_Shdr);
  header.e_shnum = 4;
  header.e_shstrndx = 3;
  header.e_shoff = Append(&elf, sections, 4);
  std::memcpy(elf.data(), &header, sizeof header);
  return elf;
}

void WritePerfMap(const std::byte* base, const Image& image) {
  const std::string path = "/tmp/perf-" + std::to_string(getpid()) + ".map";
  std::FILE* file = std::fopen(path.c_str(), "a");
  if (file == nullptr) return;                               // a profiler's convenience, nothing depends on it
  for (const auto& [name, offset] : image.symbols) {
    std::fprintf(file, "%llx %llx %s\n", reinterpret_cast<unsigned long long>(base + offset),
                 static_cast<unsigned long long>(image.code.size() - offset), name.c_str());
  }
  std::fclose(file);
}

}  // namespace

GdbRegistration::GdbRegistration(const std::byte* base, const Image& image) : elf_(MakeElf(base, image)) {
  const std::lock_guard lock(Mutex());
  auto* entry = new jit_code_entry{__jit_debug_descriptor.first_entry, nullptr, reinterpret_cast<const char*>(elf_.data()), elf_.size()};
  if (entry->next_entry != nullptr) entry->next_entry->prev_entry = entry;
  __jit_debug_descriptor.first_entry = __jit_debug_descriptor.relevant_entry = entry;
  __jit_debug_descriptor.action_flag = kRegister;
  __jit_debug_register_code();
  entry_ = entry;
  if (perf_map) WritePerfMap(base, image);
}

GdbRegistration::~GdbRegistration() {
  const std::lock_guard lock(Mutex());
  auto* entry = static_cast<jit_code_entry*>(entry_);
  if (entry->prev_entry != nullptr) entry->prev_entry->next_entry = entry->next_entry;
  if (entry->next_entry != nullptr) entry->next_entry->prev_entry = entry->prev_entry;
  if (__jit_debug_descriptor.first_entry == entry) __jit_debug_descriptor.first_entry = entry->next_entry;
  __jit_debug_descriptor.relevant_entry = entry;
  __jit_debug_descriptor.action_flag = kUnregister;
  __jit_debug_register_code();
  delete entry;
}

void SetPerfMap(bool enabled) { perf_map = enabled; }

}  // namespace athanor
