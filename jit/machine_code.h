#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "jit/source_writer.h"

namespace athanor {

// A function as machine code: position independent, without references.
struct MachineCode {
  std::string name;
  std::vector<uint8_t> bytes;
  uint64_t entry = 0;                                        // where in `bytes` it begins; they lie at a multiple of 64
};

// Writes it as a module-level asm block of bytes, so that a source holds all of its kernel. Any C++ compiler takes that; ours has the linker place the
// bytes (TakeMachineCode), which a small kernel's assembler would take a tenth of its compile time for.
void WriteMachineCode(const MachineCode& code, SourceWriter* out);

// The functions so written in `source`, whose blocks are taken out of it.
std::vector<MachineCode> TakeMachineCode(std::string* source);

}  // namespace athanor
