#include "ops/philox.h"

#include <algorithm>
#include <cmath>

namespace athanor {

std::array<uint32_t, 4> Philox(std::array<uint32_t, 4> counter, uint64_t key) {
  auto low = static_cast<uint32_t>(key), high = static_cast<uint32_t>(key >> 32);
  for (int round = 0; round < 10; ++round) {
    const uint64_t a = uint64_t{0xD2511F53} * counter[0], b = uint64_t{0xCD9E8D57} * counter[2];
    counter = {static_cast<uint32_t>(b >> 32) ^ counter[1] ^ low, static_cast<uint32_t>(b),
               static_cast<uint32_t>(a >> 32) ^ counter[3] ^ high, static_cast<uint32_t>(a)};
    low += 0x9E3779B9;
    high += 0xBB67AE85;
  }
  return counter;
}

bool DropoutKeeps(uint64_t seed, uint64_t offset, uint32_t row, uint32_t column, double p) {
  const std::array<uint32_t, 4> words =
      Philox({column / 4, row, static_cast<uint32_t>(offset), static_cast<uint32_t>(offset >> 32)}, seed);
  return words[column % 4] >= DropoutThreshold(p);
}

int32_t RandomWord(int64_t index, int64_t seed, int64_t offset) {
  const auto block = static_cast<uint64_t>(index) / 4, high = static_cast<uint64_t>(offset);
  const std::array<uint32_t, 4> words = Philox({static_cast<uint32_t>(block), static_cast<uint32_t>(block >> 32),
                                                static_cast<uint32_t>(high), static_cast<uint32_t>(high >> 32)},
                                               static_cast<uint64_t>(seed));
  return static_cast<int32_t>(words[static_cast<uint64_t>(index) % 4] ^ 0x80000000u);
}

uint32_t DropoutThreshold(double p) { return static_cast<uint32_t>(std::min(std::round(p * 0x1p32), 0x1p32 - 1)); }

double DropoutFactor(double p) { return p < 1 ? 1 / (1 - p) : 0; }

}  // namespace athanor
