#pragma once

#include <string>

#include "ops/host_tensor.h"

namespace athanor {

// NumPy's array files (numpy.lib.format, versions 1.0 to 3.0), little endian: f32 f64 i32 i64 u8 bool as themselves, the bits of
// bf16 and f16 as uint16 (float16 is read for f16, too). Errors begin with the file's name.

// Reads an array that must have the dtype and shape of `expected` (its strides do not matter): row-major or Fortran order,
// nothing behind the last element. Integers beyond 2^53 are refused, since HostTensor could not show them exactly.
HostTensor ReadNpy(const std::string& path, const TensorDesc& expected);
// Writes version 1.0, row-major, as a whole or not at all.
void WriteNpy(const std::string& path, const HostTensor& tensor);

}  // namespace athanor
