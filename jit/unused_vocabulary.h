#pragma once

#include <string>
#include <string_view>

namespace athanor {

// `source` without those types and INLINE functions of its prelude (jit/prelude.h) that nothing in it names: with the routines taken out
// (jit/routines.h), a kernel that hands its work to them needs little of what it carries, and reading that would take clang a quarter of its time.
std::string WithoutUnusedVocabulary(std::string_view source);

}  // namespace athanor
