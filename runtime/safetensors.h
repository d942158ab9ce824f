#pragma once

#include <map>
#include <string>

#include "ops/host_tensor.h"

namespace athanor {

// Named tensors in the safetensors format (Hugging Face): a length, a JSON header with dtypes, shapes and offsets, then the data.
struct SafeTensors {
  std::map<std::string, HostTensor> tensors;
  std::map<std::string, std::string> metadata;
};

// Replaces `path` as a whole: a reader, or a crash, sees the old file or the new one. Throws Error naming the path.
void WriteSafeTensors(const std::string& path, const SafeTensors& contents);
// Throws Error naming the path and what is wrong with the file.
SafeTensors ReadSafeTensors(const std::string& path);

}  // namespace athanor
