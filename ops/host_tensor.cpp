#include "ops/host_tensor.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "ops/error.h"

namespace athanor {
namespace {

// The 16-bit formats: one sign bit, `exponent_bits`, then the mantissa.
constexpr int kExponentBitsF16 = 5;
constexpr int kExponentBitsBF16 = 8;

double Decode16(uint16_t bits, int exponent_bits) {
  const int mantissa_bits = 15 - exponent_bits, bias = (1 << (exponent_bits - 1)) - 1;
  const int exponent = (bits >> mantissa_bits) & ((1 << exponent_bits) - 1), mantissa = bits & ((1 << mantissa_bits) - 1);
  double magnitude;
  if (exponent == (1 << exponent_bits) - 1) {
    magnitude = mantissa ? std::numeric_limits<double>::quiet_NaN() : std::numeric_limits<double>::infinity();
  } else if (exponent == 0) {
    magnitude = std::ldexp(mantissa, 1 - bias - mantissa_bits);
  } else {
    magnitude = std::ldexp(mantissa + (1 << mantissa_bits), exponent - bias - mantissa_bits);
  }
  return bits >> 15 ? -magnitude : magnitude;
}

// Rounds once, to nearest even.
uint16_t Encode16(double value, int exponent_bits) {
  const int mantissa_bits = 15 - exponent_bits, bias = (1 << (exponent_bits - 1)) - 1;
  const int infinity = ((1 << exponent_bits) - 1) << mantissa_bits;
  const int sign = std::signbit(value) ? 0x8000 : 0;
  if (std::isnan(value)) return static_cast<uint16_t>(sign | infinity | 1 << (mantissa_bits - 1));
  if (std::isinf(value)) return static_cast<uint16_t>(sign | infinity);
  if (value == 0) return static_cast<uint16_t>(sign);
  const int exponent = std::max(std::ilogb(value), 1 - bias);
  // In units of the last place; a carry out of the mantissa raises the exponent by itself.
  const double units = std::nearbyint(std::ldexp(std::fabs(value), mantissa_bits - exponent));
  if (exponent > bias) return static_cast<uint16_t>(sign | infinity);
  const int encoded = ((exponent + bias - 1) << mantissa_bits) + static_cast<int>(units);
  return static_cast<uint16_t>(sign | std::min(encoded, infinity));
}

// Truncates; out of range saturates, NaN is 0.
int64_t ToInteger(double value) {
  if (std::isnan(value)) return 0;
  if (value >= 0x1p63) return std::numeric_limits<int64_t>::max();
  if (value < -0x1p63) return std::numeric_limits<int64_t>::min();
  return static_cast<int64_t>(value);
}

template <typename T>
T Load(const std::byte* data, int64_t index) {
  T value;
  std::memcpy(&value, data + index * static_cast<int64_t>(sizeof(T)), sizeof(T));
  return value;
}

template <typename T>
void Store(std::byte* data, int64_t index, T value) {
  std::memcpy(data + index * static_cast<int64_t>(sizeof(T)), &value, sizeof(T));
}

// Calls `visit` with a pair of functions that decode and encode an element of `dtype`.
template <typename Visit>
void VisitCodec(DType dtype, Visit visit) {
  const auto plain = [&]<typename T>(T, auto convert) {
    visit([](const std::byte* data, int64_t i) { return static_cast<double>(Load<T>(data, i)); },
          [convert](std::byte* data, int64_t i, double value) { Store<T>(data, i, static_cast<T>(convert(value))); });
  };
  const auto sixteen = [&](int exponent_bits) {
    visit([exponent_bits](const std::byte* data, int64_t i) { return Decode16(Load<uint16_t>(data, i), exponent_bits); },
          [exponent_bits](std::byte* data, int64_t i, double value) { Store<uint16_t>(data, i, Encode16(value, exponent_bits)); });
  };
  const auto identity = [](double value) { return value; };
  switch (dtype) {
    case DType::kF32: return plain(float{}, identity);
    case DType::kF64: return plain(double{}, identity);
    case DType::kF16: return sixteen(kExponentBitsF16);
    case DType::kBF16: return sixteen(kExponentBitsBF16);
    case DType::kI32: return plain(int32_t{}, ToInteger);
    case DType::kI64: return plain(int64_t{}, ToInteger);
    case DType::kU8: return plain(uint8_t{}, ToInteger);
    case DType::kBool: return plain(uint8_t{}, [](double value) { return value != 0; });
  }
  ATHANOR_CHECK(false);
}

}  // namespace

HostTensor::HostTensor(DType dtype, Shape shape) : desc_{dtype, std::move(shape)} {
  data_.resize(static_cast<size_t>(desc_.elements() * SizeOf(dtype)));
}

double HostTensor::Get(int64_t index) const {
  double value = 0;
  VisitCodec(desc_.dtype, [&](auto decode, auto) { value = decode(data_.data(), index); });
  return value;
}

void HostTensor::Set(int64_t index, double value) {
  VisitCodec(desc_.dtype, [&](auto, auto encode) { encode(data_.data(), index, value); });
}

std::vector<double> HostTensor::ToDoubles() const {
  std::vector<double> values(static_cast<size_t>(elements()));
  VisitCodec(desc_.dtype, [&](auto decode, auto) {
    for (size_t i = 0; i < values.size(); ++i) values[i] = decode(data_.data(), static_cast<int64_t>(i));
  });
  return values;
}

void HostTensor::Assign(std::span<const double> values) {
  ATHANOR_CHECK(static_cast<int64_t>(values.size()) == elements());
  VisitCodec(desc_.dtype, [&](auto, auto encode) {
    for (size_t i = 0; i < values.size(); ++i) encode(data_.data(), static_cast<int64_t>(i), values[i]);
  });
}

double RoundTo(DType dtype, double value) {
  HostTensor scalar(dtype, {});
  scalar.Set(0, value);
  return scalar.Get(0);
}

double RelativeError(const HostTensor& expected, const HostTensor& actual, double least) {
  ATHANOR_CHECK(expected.elements() == actual.elements());
  double scale = least, error = 0;
  for (int64_t i = 0; i < expected.elements(); ++i) {
    const double want = expected.Get(i), got = actual.Get(i);
    if (std::isfinite(want)) scale = std::max(scale, std::abs(want));
    if (want == got || (std::isnan(want) && std::isnan(got))) continue;
    if (!std::isfinite(want) || !std::isfinite(got)) return std::numeric_limits<double>::infinity();
    error = std::max(error, std::abs(want - got));
  }
  return error / scale;
}

}  // namespace athanor
