#pragma once

#include <string>

namespace athanor::bench {

// A file or folder that belongs to the program: share/athanor/NAME beside the build tree's program, or of the installation.
// Throws Error where it is missing.
std::string ResourcePath(const std::string& name);

}  // namespace athanor::bench
