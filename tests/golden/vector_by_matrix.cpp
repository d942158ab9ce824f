// contract: _contract _contract%4, maximum maximum%5
// schedule: contract mr=8 nv=0 mc=8 nc=16 kc=112 pack_a=none pack_b=none k_split=1 unroll=4 maker=cpp pairs=0
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
INLINE void store(float* p, vf32 v) { *(vf32_any*)p = v; }
typedef float f32_part __attribute__((vector_size(64), may_alias));
INLINE f32_part f32_part_load(const float* p, long n) {
  return __builtin_ia32_loadups512_mask((const float*)p, f32_part{}, (unsigned short)((1u << n) - 1));
}
INLINE void f32_part_store(float* p, f32_part v, long n) { __builtin_ia32_storeups512_mask((float*)p, v, (unsigned short)((1u << n) - 1)); }
INLINE vf32 load_tail(const float* p, long n) { return (vf32)f32_part_load(p, n); }
INLINE void store_tail(float* p, vf32 v, long n) { f32_part_store(p, (f32_part)v, n); }
INLINE float sum(vf32 v) {
  typedef float h8_t __attribute__((vector_size(32)));
  const h8_t h8 = __builtin_shufflevector(v, v, 0, 1, 2, 3, 4, 5, 6, 7) + __builtin_shufflevector(v, v, 8, 9, 10, 11, 12, 13, 14, 15);
  typedef float h4_t __attribute__((vector_size(16)));
  const h4_t h4 = __builtin_shufflevector(h8, h8, 0, 1, 2, 3) + __builtin_shufflevector(h8, h8, 4, 5, 6, 7);
  typedef float h2_t __attribute__((vector_size(8)));
  const h2_t h2 = __builtin_shufflevector(h4, h4, 0, 1) + __builtin_shufflevector(h4, h4, 2, 3);
  return h2[0] + h2[1];
}
#define ROUTINE static __attribute__((noinline))
// Columns [n0, n1) of `rows` rows of C, finished and stored.
ROUTINE void epilogue(char* const* args, long b, long m0, long rows, long n0, long n1, const float* c, long c_row) {
  float* const a0 = (float*)args[0];
  for (long m = m0; m < m0 + rows; ++m, c += c_row) {
    {
      long i2 = n0;
      for (; i2 + 16 <= n1; i2 += 16) {
        const vf32 product = load(c + (i2 - n0));
        const vf32 x2 = splat(0.0f) > product ? splat(0.0f) : product;
        store(a0 + i2, x2);
      }
      if (i2 < n1) {
        const vf32 product = load(c + (i2 - n0));
        const vf32 x2_1 = splat(0.0f) > product ? splat(0.0f) : product;
        store_tail(a0 + i2, x2_1, (n1 - i2));
      }
    }
  }
}

// 8 rows by one column, in vectors along k
static __attribute__((noinline)) void tile(const float* a, const float* b, float* c, long k, long first) {
  vf32 c0 = {};
  vf32 c1 = {};
  vf32 c2 = {};
  vf32 c3 = {};
  vf32 c4 = {};
  vf32 c5 = {};
  vf32 c6 = {};
  vf32 c7 = {};
  long p = 0;
  for (; p + 16 <= k; p += 16) {
    const vf32 x = load(b + p);
    c0 += load(a + p + 0) * x;
    c1 += load(a + p + 100) * x;
    c2 += load(a + p + 200) * x;
    c3 += load(a + p + 300) * x;
    c4 += load(a + p + 400) * x;
    c5 += load(a + p + 500) * x;
    c6 += load(a + p + 600) * x;
    c7 += load(a + p + 700) * x;
  }
  if (p < k) {
    const vf32 x = load_tail(b + p, k - p);
    c0 += load_tail(a + p + 0, k - p) * x;
    c1 += load_tail(a + p + 100, k - p) * x;
    c2 += load_tail(a + p + 200, k - p) * x;
    c3 += load_tail(a + p + 300, k - p) * x;
    c4 += load_tail(a + p + 400, k - p) * x;
    c5 += load_tail(a + p + 500, k - p) * x;
    c6 += load_tail(a + p + 600, k - p) * x;
    c7 += load_tail(a + p + 700, k - p) * x;
  }
  const float s0 = sum(c0);
  c[0] = first ? s0 : c[0] + s0;
  const float s1 = sum(c1);
  c[1] = first ? s1 : c[1] + s1;
  const float s2 = sum(c2);
  c[2] = first ? s2 : c[2] + s2;
  const float s3 = sum(c3);
  c[3] = first ? s3 : c[3] + s3;
  const float s4 = sum(c4);
  c[4] = first ? s4 : c[4] + s4;
  const float s5 = sum(c5);
  c[5] = first ? s5 : c[5] + s5;
  const float s6 = sum(c6);
  c[6] = first ? s6 : c[6] + s6;
  const float s7 = sum(c7);
  c[7] = first ? s7 : c[7] + s7;
}

// 6 rows by one column, in vectors along k
static __attribute__((noinline)) void tile_n(const float* a, const float* b, float* c, long k, long first) {
  vf32 c0 = {};
  vf32 c1 = {};
  vf32 c2 = {};
  vf32 c3 = {};
  vf32 c4 = {};
  vf32 c5 = {};
  long p = 0;
  for (; p + 16 <= k; p += 16) {
    const vf32 x = load(b + p);
    c0 += load(a + p + 0) * x;
    c1 += load(a + p + 100) * x;
    c2 += load(a + p + 200) * x;
    c3 += load(a + p + 300) * x;
    c4 += load(a + p + 400) * x;
    c5 += load(a + p + 500) * x;
  }
  if (p < k) {
    const vf32 x = load_tail(b + p, k - p);
    c0 += load_tail(a + p + 0, k - p) * x;
    c1 += load_tail(a + p + 100, k - p) * x;
    c2 += load_tail(a + p + 200, k - p) * x;
    c3 += load_tail(a + p + 300, k - p) * x;
    c4 += load_tail(a + p + 400, k - p) * x;
    c5 += load_tail(a + p + 500, k - p) * x;
  }
  const float s0 = sum(c0);
  c[0] = first ? s0 : c[0] + s0;
  const float s1 = sum(c1);
  c[1] = first ? s1 : c[1] + s1;
  const float s2 = sum(c2);
  c[2] = first ? s2 : c[2] + s2;
  const float s3 = sum(c3);
  c[3] = first ? s3 : c[3] + s3;
  const float s4 = sum(c4);
  c[4] = first ? s4 : c[4] + s4;
  const float s5 = sum(c5);
  c[5] = first ? s5 : c[5] + s5;
}

extern "C" void tiles(char* const* args, long begin, long end, char* scratch) {
  const float* const a1 = (const float*)args[1];
  const float* const a2 = (const float*)args[2];
  for (long task = begin; task < end; ++task) {
    const long block = task / 1;
    const long m0 = 0, m1 = 1;
    const long c0 = block % 5 * 16, c1 = c0 + 16 < 70 ? c0 + 16 : 70;
    const long b = 0;
    const long k_begin = 0, k_end = 100;
    const long k0 = k_begin, k1 = k_end;
    const long n0 = c0, n1 = c1;
    for (long m = m0; m < m1; m += 1) {
      const long rows = 1;
      const float* a = a2 + m * 0 + k0 * 1;
      for (long n = n0; n < n1; n += 8) {
        const float* bp = a1 + k0 * 1 + n * 100;
        float* c = (float*)(scratch + 128) + (n - n0);
        if (n + 8 <= 70) tile(bp, a, c, k1 - k0, 1); else tile_n(bp, a, c, k1 - k0, 1);
      }
      epilogue(args, b, m, rows, n0, n1, (float*)(scratch + 128) + (n0 - n0), 24);
    }
  }
}

