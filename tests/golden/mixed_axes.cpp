// loop_nest: test
// schedule: loop task=32768 unroll=1 streaming=0 row_chunks=16
#define INLINE static inline __attribute__((always_inline))
typedef float vf32 __attribute__((vector_size(64)));
typedef float vf32_any __attribute__((vector_size(64), aligned(4), may_alias));
typedef float vf32_aligned __attribute__((vector_size(64), aligned(64), may_alias));
typedef double vf64 __attribute__((vector_size(128)));
typedef double vf64_any __attribute__((vector_size(128), aligned(8), may_alias));
typedef double vf64_aligned __attribute__((vector_size(128), aligned(64), may_alias));
typedef int vi32 __attribute__((vector_size(64)));
typedef int vi32_any __attribute__((vector_size(64), aligned(4), may_alias));
typedef int vi32_aligned __attribute__((vector_size(64), aligned(64), may_alias));
typedef long vi64 __attribute__((vector_size(128)));
typedef long vi64_any __attribute__((vector_size(128), aligned(8), may_alias));
typedef long vi64_aligned __attribute__((vector_size(128), aligned(64), may_alias));
typedef unsigned char vu8 __attribute__((vector_size(16)));
typedef unsigned char vu8_any __attribute__((vector_size(16), aligned(1), may_alias));
typedef unsigned short vu16 __attribute__((vector_size(32)));
typedef unsigned short vu16_any __attribute__((vector_size(32), aligned(2), may_alias));
INLINE vf32 splat(float x) { return x - vf32{}; }
INLINE vf32 load(const float* p) { return *(const vf32_any*)p; }
typedef float f32_part __attribute__((vector_size(64), may_alias));
INLINE f32_part f32_part_load(const float* p, long n) {
  return __builtin_ia32_loadups512_mask((const float*)p, f32_part{}, (unsigned short)((1u << n) - 1));
}
INLINE void f32_part_store(float* p, f32_part v, long n) { __builtin_ia32_storeups512_mask((float*)p, v, (unsigned short)((1u << n) - 1)); }
INLINE vf32 load_tail(const float* p, long n) { return (vf32)f32_part_load(p, n); }
INLINE void store_tail(float* p, vf32 v, long n) { f32_part_store(p, (f32_part)v, n); }
INLINE vi32 iota_i32() { return vi32{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}; }
INLINE vf32 select(vi32 m, vf32 a, vf32 b) { return m ? a : b; }
INLINE float sum(vf32 v) {
  typedef float h8_t __attribute__((vector_size(32)));
  const h8_t h8 = __builtin_shufflevector(v, v, 0, 1, 2, 3, 4, 5, 6, 7) + __builtin_shufflevector(v, v, 8, 9, 10, 11, 12, 13, 14, 15);
  typedef float h4_t __attribute__((vector_size(16)));
  const h4_t h4 = __builtin_shufflevector(h8, h8, 0, 1, 2, 3) + __builtin_shufflevector(h8, h8, 4, 5, 6, 7);
  typedef float h2_t __attribute__((vector_size(8)));
  const h2_t h2 = __builtin_shufflevector(h4, h4, 0, 1) + __builtin_shufflevector(h4, h4, 2, 3);
  return h2[0] + h2[1];
}
// Digit of a mixed-radix index.
INLINE long digit(long i, unsigned long below, unsigned long extent) { return (unsigned long)i / below % extent; }
INLINE long high_digit(long i, unsigned long below) { return (unsigned long)i / below; }

extern "C" void loop_nest(char* const* args, long begin, long end, char*) {
  const float* const a0 = (const float*)args[0];
  float* const a1 = (float*)args[1];
  const long point_end = end * 204 < 6 ? end * 204 : 6;
  for (long point = begin * 204; point < point_end; ++point) {
    const long i1 = digit(point, 1, 6);
    vf32 r1_0 = splat(0.0f);
    for (long i0 = 0; i0 < 4; ++i0) {
      for (long i2 = 0; i2 < 32; i2 += 16) {
        const vf32 x0 = load(a0 + i0 * 240 + i1 * 40 + i2);
        r1_0 = r1_0 + x0;
      }
      {
        const vf32 x0_1 = load_tail(a0 + i0 * 240 + i1 * 40 + 32, 8);
        r1_0 = select(iota_i32() < 8, r1_0 + x0_1, r1_0);
      }
    }
    const float r1_0_all = (float)sum(r1_0);
    {
      *(a1 + i1) = r1_0_all;
    }
  }
}
