#pragma once

#include <string>
#include <vector>

#include "jit/clang/llvm_headers.h"
#include "jit/machine_code.h"
#include "jit/module.h"

namespace athanor {

// Links a relocatable ELF object, and the functions of `codes` that it calls, into an Image: all sections laid out in one block, every reference
// relative. Throws InternalError on any other external symbol or a relocation that needs an absolute address.
Image LinkImage(llvm::StringRef object, const std::vector<MachineCode>& codes, const std::string& name);

}  // namespace athanor
