#pragma once

#include <array>
#include <cstdint>

namespace athanor {

// Philox4x32-10 (J. K. Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011): four random words from a counter
// and a key. No state: the same call gives the same words anywhere, so forward and backward draw the same mask.
std::array<uint32_t, 4> Philox(std::array<uint32_t, 4> counter, uint64_t key);

// Dropout with probability p over a matrix: the word of element (row, column) is number column % 4 of those of the counter
// {column / 4, row, offset low, offset high} under the key `seed`. It is kept when its word is at least DropoutThreshold(p), and
// then multiplied by DropoutFactor(p) = 1 / (1 - p), or 0 where p is 1.
bool DropoutKeeps(uint64_t seed, uint64_t offset, uint32_t row, uint32_t column, double p);
uint32_t DropoutThreshold(double p);
double DropoutFactor(double p);

// Word number `index` of the stream that seed and offset name, less 2^31: every i32 is equally likely. It is number index % 4 of
// those of the counter {index / 4 low, index / 4 high, offset low, offset high} under the key `seed`.
int32_t RandomWord(int64_t index, int64_t seed, int64_t offset);

}  // namespace athanor
