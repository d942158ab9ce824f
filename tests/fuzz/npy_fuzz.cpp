// No bytes given as a .npy file do more than be refused with an error that names the file, or be read as what was expected. The first byte chooses the
// dtype, the second the shape.
#include "ops/error.h"
#include "runtime/npy.h"
#include "tests/fuzz/file_of_bytes.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace athanor;
  if (size < 2) return 0;
  constexpr DType kDTypes[] = {DType::kF32, DType::kBF16, DType::kF16, DType::kF64, DType::kI32, DType::kI64, DType::kU8, DType::kBool};
  const Shape shapes[] = {{}, {0}, {3}, {2, 3}, {2, 1, 4}};
  const TensorDesc expected(kDTypes[data[0] % 8], shapes[data[1] % 5]);
  const FileOfBytes file(data + 2, size - 2);
  try {
    const HostTensor tensor = ReadNpy(file.path(), expected);
    if (tensor.desc().dtype != expected.dtype || tensor.desc().shape != expected.shape) std::abort();
  } catch (const Error& error) {
    if (!std::string_view(error.what()).starts_with(file.path())) std::abort();
  }
  return 0;
}
