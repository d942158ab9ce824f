#include <string>

#include "jit/prelude_units.h"

// Philox4x32-10 (ops/philox.h) in vectors.
namespace athanor {
namespace {

// Counters of any kind, one in each lane.
const char kPhilox[] = R"(// Philox4x32-10: the words of each lane's counter, in its place.
typedef unsigned philox_word __attribute__((vector_size($WORD)));
typedef unsigned long philox_product __attribute__((vector_size($PRODUCT)));
INLINE void philox(vi32 (&c)[4], unsigned low, unsigned high) {
  for (int round = 0; round < 10; ++round, low += 0x9E3779B9u, high += 0xBB67AE85u) {
    philox_product a = __builtin_convertvector((philox_word)c[0], philox_product) * 0xD2511F53ul;
    philox_product b = __builtin_convertvector((philox_word)c[2], philox_product) * 0xCD9E8D57ul;
    c[0] = __builtin_convertvector(b >> 32, vi32) ^ c[1] ^ (int)low;
    c[1] = __builtin_convertvector(b, vi32);
    c[2] = __builtin_convertvector(a >> 32, vi32) ^ c[3] ^ (int)high;
    c[3] = __builtin_convertvector(a, vi32);
  }
}
)";

// A vector of consecutive words takes a quarter as many counters. Words 0 and 2 of all its counters are one vector of 64-bit lanes, words
// 1 and 3 another, of which only the lower halves count: a round is one multiplication, a swap of halves and three more instructions.
const char kRandomWord[] = R"(// Words of consecutive counters, from `block` on.
typedef unsigned long philox_pair __attribute__((vector_size($WORD)));
INLINE vi32 random_block(unsigned long block, unsigned long seed, unsigned long offset) {
  const unsigned long upper = offset >> 32;
  const philox_pair factor = {$FACTORS}, step = {$STEPS};
  philox_pair x = {$EVEN}, y = {$ODD}, key = {$KEYS};
  #pragma clang loop unroll(full)
  for (int round = 0; round < 10; ++round, key += step) {
    const philox_pair product = (x & 0xffffffffu) * factor;
    const philox_pair swapped = __builtin_shufflevector(product, product, $SWAP);
    x = (swapped >> 32) ^ y ^ key;
    y = swapped;
  }
  return __builtin_shufflevector((vi32)x, (vi32)y, $WORDS);
}

// Random words, less 2^31, of any indices; most often they are consecutive.
INLINE vi32 random_word(vi64 index, long seed, long offset) {
  const long first = index[0];
  const int half = (int)0x80000000;
  if (__builtin_reduce_and(index - iota_i64() == splat(first))) {
    const unsigned long block = (unsigned long)first / 4;
    const vi32 words = random_block(block, seed, offset);
    if (first % 4 == 0) return words ^ half;
    int both[2 * $LANES];
    *(vi32_any*)both = words;
    *(vi32_any*)(both + $LANES) = random_block(block + $LANES / 4, seed, offset);
    return *(const vi32_any*)(both + first % 4) ^ half;
  }
  const vi64 block = (vi64)((philox_product)index / 4);
  vi32 words[4] = {__builtin_convertvector(block, vi32), __builtin_convertvector(block >> 32, vi32),
                   vi32{} + (int)offset, vi32{} + (int)(offset >> 32)};
  philox(words, (unsigned)seed, (unsigned)(seed >> 32));
  const vi32 number = __builtin_convertvector(index & 3, vi32);
  return (number == 0 ? words[0] : number == 1 ? words[1] : number == 2 ? words[2] : words[3]) ^ half;
}
INLINE int random_word(long index, long seed, long offset) { return random_word(iota_i64() + index, seed, offset)[0]; }
)";

}  // namespace

void AppendRandomUnits(int lanes, std::vector<PreludeUnit>* units) {
  const std::string bytes = std::to_string(4 * lanes), twice = std::to_string(8 * lanes);
  units->push_back({"philox", {}, Substitute(kPhilox, {{"$WORD", bytes}, {"$PRODUCT", twice}})});
  const int counters = lanes / 4;
  const auto halves = [&](const std::string& lower, const std::string& upper) {  // "#" in `lower`: the counter's number
    return LaneList(2 * counters, [&](int i) { return i < counters ? Substitute(lower, {{"#", std::to_string(i)}}) : upper; });
  };
  const std::string swap = LaneList(2 * counters, [&](int i) { return std::to_string((i + counters) % (2 * counters)); });
  const std::string words = LaneList(lanes, [&](int i) {  // lane 4t + w: word w of counter t
    const int word = i % 4, counter = i / 4;
    return std::to_string(word % 2 * lanes + 2 * (counter + word / 2 * counters));
  });
  units->push_back({"random_word",
                    {"philox", "splat.i64", "iota.i64"},
                    Substitute(kRandomWord, {{"$WORDS", words},
                                             {"$WORD", bytes},
                                             {"$LANES", std::to_string(lanes)},
                                             {"$FACTORS", halves("0xD2511F53ul", "0xCD9E8D57ul")},
                                             {"$STEPS", halves("0x9E3779B9ul", "0xBB67AE85ul")},
                                             {"$KEYS", halves("seed & 0xffffffffu", "seed >> 32")},
                                             {"$EVEN", halves("block + #", "offset")},
                                             {"$ODD", halves("(block + #) >> 32", "upper")},
                                             {"$SWAP", swap}})});
}

}  // namespace athanor
