// No bytes given as a safetensors file do more than be refused with an error that names the file, or be read; what was read holds all the file's data.
#include "ops/error.h"
#include "runtime/safetensors.h"
#include "tests/fuzz/file_of_bytes.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace athanor;
  const FileOfBytes file(data, size);
  try {
    const SafeTensors contents = ReadSafeTensors(file.path());
    uint64_t bytes = 0;
    for (const auto& [name, tensor] : contents.tensors) bytes += static_cast<uint64_t>(tensor.bytes());
    if (bytes > size) std::abort();
  } catch (const Error& error) {
    if (!std::string_view(error.what()).starts_with(file.path())) std::abort();
  }
  return 0;
}
