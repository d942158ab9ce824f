#pragma once

#include <string>

#include "jit/clang/llvm_headers.h"
#include "jit/module.h"

namespace athanor {

// Links a relocatable ELF object into an Image: all sections laid out in one block, every reference relative. Throws
// InternalError on an external symbol or a relocation that needs an absolute address.
Image LinkImage(llvm::StringRef object, const std::string& name);

}  // namespace athanor
