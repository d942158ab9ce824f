// contract: product, moments
// schedule: contract mr=6 nv=4 mc=24 nc=320 kc=16 pack_a=none pack_b=none k_split=1 unroll=4 maker=cpp pairs=0
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
#define ROUTINE static __attribute__((noinline))
// Columns [n0, n1) of `rows` rows of C, finished and stored.
ROUTINE void epilogue(char* const* args, long b, long m0, long rows, long n0, long n1, const float* c, long c_row, long parts_arg, long batch_parts, long block, long block_parts, long strip, long s0, long row_parts) {
  float* const a2 = (float*)args[2];
  float* const parts = (float*)args[parts_arg] + b * batch_parts + (n0 / block * block_parts + n0 % block / strip) * 3;
  for (long m = m0; m < m0 + rows; ++m, c += c_row) {
    const float column = *c;
    const float first = column - column == 0 ? column : 0;
    vf32 sums[4] = {}, squares[4] = {};
    {
      long i2 = n0;
      for (; i2 + 64 <= n1; i2 += 64) {
        {
          const vf32 product = load(c + (i2 - n0));
          store(a2 + m * s0 + i2, product);
          const vf32 off = product - first;
          sums[0] += off;
          squares[0] += off * off;
        }
        {
          const vf32 product = load(c + ((i2 + 16) - n0));
          store(a2 + m * s0 + (i2 + 16), product);
          const vf32 off = product - first;
          sums[1] += off;
          squares[1] += off * off;
        }
        {
          const vf32 product = load(c + ((i2 + 32) - n0));
          store(a2 + m * s0 + (i2 + 32), product);
          const vf32 off = product - first;
          sums[2] += off;
          squares[2] += off * off;
        }
        {
          const vf32 product = load(c + ((i2 + 48) - n0));
          store(a2 + m * s0 + (i2 + 48), product);
          const vf32 off = product - first;
          sums[3] += off;
          squares[3] += off * off;
        }
      }
      for (; i2 + 16 <= n1; i2 += 16) {
        const vf32 product = load(c + (i2 - n0));
        store(a2 + m * s0 + i2, product);
        const vf32 off = product - first;
        sums[0] += off;
        squares[0] += off * off;
      }
      if (i2 < n1) {
        const vf32 product = load(c + (i2 - n0));
        store_tail(a2 + m * s0 + i2, product, (n1 - i2));
        const vf32 off = product - first;
        sums[0] = select(iota_i32() < (int)(n1 - i2), sums[0] + off, sums[0]);
        squares[0] = select(iota_i32() < (int)(n1 - i2), squares[0] + off * off, squares[0]);
      }
    }
    float* const part = parts + m * row_parts;
    const float sum_of_row = sum((sums[0] + sums[1]) + (sums[2] + sums[3])), columns = n1 - n0;
    part[0] = first + sum_of_row / columns;
    const float squares_of_row = sum((squares[0] + squares[1]) + (squares[2] + squares[3])) - sum_of_row * (sum_of_row / columns);
    part[1] = squares_of_row < 0 ? 0 : squares_of_row;
    part[2] = columns;
  }
}

// 6 rows by 4 vectors
static __attribute__((noinline)) void tile(const float* a, const float* b, float* c, long k, long first) {
  vf32 c0_0 = {}, c0_1 = {}, c0_2 = {}, c0_3 = {};
  vf32 c1_0 = {}, c1_1 = {}, c1_2 = {}, c1_3 = {};
  vf32 c2_0 = {}, c2_1 = {}, c2_2 = {}, c2_3 = {};
  vf32 c3_0 = {}, c3_1 = {}, c3_2 = {}, c3_3 = {};
  vf32 c4_0 = {}, c4_1 = {}, c4_2 = {}, c4_3 = {};
  vf32 c5_0 = {}, c5_1 = {}, c5_2 = {}, c5_3 = {};
  #pragma clang loop unroll_count(4)
  for (long p = 0; p < k; ++p) {
    const vf32 b0 = load(b + 0);
    const vf32 b1 = load(b + 16);
    const vf32 b2 = load(b + 32);
    const vf32 b3 = load(b + 48);
    { const vf32 x = splat(a[0]); c0_0 += x * b0; c0_1 += x * b1; c0_2 += x * b2; c0_3 += x * b3; }
    { const vf32 x = splat(a[8]); c1_0 += x * b0; c1_1 += x * b1; c1_2 += x * b2; c1_3 += x * b3; }
    { const vf32 x = splat(a[16]); c2_0 += x * b0; c2_1 += x * b1; c2_2 += x * b2; c2_3 += x * b3; }
    { const vf32 x = splat(a[24]); c3_0 += x * b0; c3_1 += x * b1; c3_2 += x * b2; c3_3 += x * b3; }
    { const vf32 x = splat(a[32]); c4_0 += x * b0; c4_1 += x * b1; c4_2 += x * b2; c4_3 += x * b3; }
    { const vf32 x = splat(a[40]); c5_0 += x * b0; c5_1 += x * b1; c5_2 += x * b2; c5_3 += x * b3; }
    a += 1;
    b += 300;
  }
  if (!first) {
    c0_0 = load(c + 0) + c0_0;
    c0_1 = load(c + 16) + c0_1;
    c0_2 = load(c + 32) + c0_2;
    c0_3 = load(c + 48) + c0_3;
    c1_0 = load(c + 256) + c1_0;
    c1_1 = load(c + 272) + c1_1;
    c1_2 = load(c + 288) + c1_2;
    c1_3 = load(c + 304) + c1_3;
    c2_0 = load(c + 512) + c2_0;
    c2_1 = load(c + 528) + c2_1;
    c2_2 = load(c + 544) + c2_2;
    c2_3 = load(c + 560) + c2_3;
    c3_0 = load(c + 768) + c3_0;
    c3_1 = load(c + 784) + c3_1;
    c3_2 = load(c + 800) + c3_2;
    c3_3 = load(c + 816) + c3_3;
    c4_0 = load(c + 1024) + c4_0;
    c4_1 = load(c + 1040) + c4_1;
    c4_2 = load(c + 1056) + c4_2;
    c4_3 = load(c + 1072) + c4_3;
    c5_0 = load(c + 1280) + c5_0;
    c5_1 = load(c + 1296) + c5_1;
    c5_2 = load(c + 1312) + c5_2;
    c5_3 = load(c + 1328) + c5_3;
  }
  store(c + 0, c0_0);
  store(c + 16, c0_1);
  store(c + 32, c0_2);
  store(c + 48, c0_3);
  store(c + 256, c1_0);
  store(c + 272, c1_1);
  store(c + 288, c1_2);
  store(c + 304, c1_3);
  store(c + 512, c2_0);
  store(c + 528, c2_1);
  store(c + 544, c2_2);
  store(c + 560, c2_3);
  store(c + 768, c3_0);
  store(c + 784, c3_1);
  store(c + 800, c3_2);
  store(c + 816, c3_3);
  store(c + 1024, c4_0);
  store(c + 1040, c4_1);
  store(c + 1056, c4_2);
  store(c + 1072, c4_3);
  store(c + 1280, c5_0);
  store(c + 1296, c5_1);
  store(c + 1312, c5_2);
  store(c + 1328, c5_3);
}

// 6 rows by 3 vectors, the last with 12 lanes
static __attribute__((noinline)) void tile_n(const float* a, const float* b, float* c, long k, long first) {
  vf32 c0_0 = {}, c0_1 = {}, c0_2 = {};
  vf32 c1_0 = {}, c1_1 = {}, c1_2 = {};
  vf32 c2_0 = {}, c2_1 = {}, c2_2 = {};
  vf32 c3_0 = {}, c3_1 = {}, c3_2 = {};
  vf32 c4_0 = {}, c4_1 = {}, c4_2 = {};
  vf32 c5_0 = {}, c5_1 = {}, c5_2 = {};
  #pragma clang loop unroll_count(4)
  for (long p = 0; p < k; ++p) {
    const vf32 b0 = load(b + 0);
    const vf32 b1 = load(b + 16);
    const vf32 b2 = load_tail(b + 32, 12);
    { const vf32 x = splat(a[0]); c0_0 += x * b0; c0_1 += x * b1; c0_2 += x * b2; }
    { const vf32 x = splat(a[8]); c1_0 += x * b0; c1_1 += x * b1; c1_2 += x * b2; }
    { const vf32 x = splat(a[16]); c2_0 += x * b0; c2_1 += x * b1; c2_2 += x * b2; }
    { const vf32 x = splat(a[24]); c3_0 += x * b0; c3_1 += x * b1; c3_2 += x * b2; }
    { const vf32 x = splat(a[32]); c4_0 += x * b0; c4_1 += x * b1; c4_2 += x * b2; }
    { const vf32 x = splat(a[40]); c5_0 += x * b0; c5_1 += x * b1; c5_2 += x * b2; }
    a += 1;
    b += 300;
  }
  if (!first) {
    c0_0 = load(c + 0) + c0_0;
    c0_1 = load(c + 16) + c0_1;
    c0_2 = load(c + 32) + c0_2;
    c1_0 = load(c + 256) + c1_0;
    c1_1 = load(c + 272) + c1_1;
    c1_2 = load(c + 288) + c1_2;
    c2_0 = load(c + 512) + c2_0;
    c2_1 = load(c + 528) + c2_1;
    c2_2 = load(c + 544) + c2_2;
    c3_0 = load(c + 768) + c3_0;
    c3_1 = load(c + 784) + c3_1;
    c3_2 = load(c + 800) + c3_2;
    c4_0 = load(c + 1024) + c4_0;
    c4_1 = load(c + 1040) + c4_1;
    c4_2 = load(c + 1056) + c4_2;
    c5_0 = load(c + 1280) + c5_0;
    c5_1 = load(c + 1296) + c5_1;
    c5_2 = load(c + 1312) + c5_2;
  }
  store(c + 0, c0_0);
  store(c + 16, c0_1);
  store(c + 32, c0_2);
  store(c + 256, c1_0);
  store(c + 272, c1_1);
  store(c + 288, c1_2);
  store(c + 512, c2_0);
  store(c + 528, c2_1);
  store(c + 544, c2_2);
  store(c + 768, c3_0);
  store(c + 784, c3_1);
  store(c + 800, c3_2);
  store(c + 1024, c4_0);
  store(c + 1040, c4_1);
  store(c + 1056, c4_2);
  store(c + 1280, c5_0);
  store(c + 1296, c5_1);
  store(c + 1312, c5_2);
}

// 4 rows by 4 vectors
static __attribute__((noinline)) void tile_m(const float* a, const float* b, float* c, long k, long first) {
  vf32 c0_0 = {}, c0_1 = {}, c0_2 = {}, c0_3 = {};
  vf32 c1_0 = {}, c1_1 = {}, c1_2 = {}, c1_3 = {};
  vf32 c2_0 = {}, c2_1 = {}, c2_2 = {}, c2_3 = {};
  vf32 c3_0 = {}, c3_1 = {}, c3_2 = {}, c3_3 = {};
  #pragma clang loop unroll_count(4)
  for (long p = 0; p < k; ++p) {
    const vf32 b0 = load(b + 0);
    const vf32 b1 = load(b + 16);
    const vf32 b2 = load(b + 32);
    const vf32 b3 = load(b + 48);
    { const vf32 x = splat(a[0]); c0_0 += x * b0; c0_1 += x * b1; c0_2 += x * b2; c0_3 += x * b3; }
    { const vf32 x = splat(a[8]); c1_0 += x * b0; c1_1 += x * b1; c1_2 += x * b2; c1_3 += x * b3; }
    { const vf32 x = splat(a[16]); c2_0 += x * b0; c2_1 += x * b1; c2_2 += x * b2; c2_3 += x * b3; }
    { const vf32 x = splat(a[24]); c3_0 += x * b0; c3_1 += x * b1; c3_2 += x * b2; c3_3 += x * b3; }
    a += 1;
    b += 300;
  }
  if (!first) {
    c0_0 = load(c + 0) + c0_0;
    c0_1 = load(c + 16) + c0_1;
    c0_2 = load(c + 32) + c0_2;
    c0_3 = load(c + 48) + c0_3;
    c1_0 = load(c + 256) + c1_0;
    c1_1 = load(c + 272) + c1_1;
    c1_2 = load(c + 288) + c1_2;
    c1_3 = load(c + 304) + c1_3;
    c2_0 = load(c + 512) + c2_0;
    c2_1 = load(c + 528) + c2_1;
    c2_2 = load(c + 544) + c2_2;
    c2_3 = load(c + 560) + c2_3;
    c3_0 = load(c + 768) + c3_0;
    c3_1 = load(c + 784) + c3_1;
    c3_2 = load(c + 800) + c3_2;
    c3_3 = load(c + 816) + c3_3;
  }
  store(c + 0, c0_0);
  store(c + 16, c0_1);
  store(c + 32, c0_2);
  store(c + 48, c0_3);
  store(c + 256, c1_0);
  store(c + 272, c1_1);
  store(c + 288, c1_2);
  store(c + 304, c1_3);
  store(c + 512, c2_0);
  store(c + 528, c2_1);
  store(c + 544, c2_2);
  store(c + 560, c2_3);
  store(c + 768, c3_0);
  store(c + 784, c3_1);
  store(c + 800, c3_2);
  store(c + 816, c3_3);
}

// 4 rows by 3 vectors, the last with 12 lanes
static __attribute__((noinline)) void tile_m_n(const float* a, const float* b, float* c, long k, long first) {
  vf32 c0_0 = {}, c0_1 = {}, c0_2 = {};
  vf32 c1_0 = {}, c1_1 = {}, c1_2 = {};
  vf32 c2_0 = {}, c2_1 = {}, c2_2 = {};
  vf32 c3_0 = {}, c3_1 = {}, c3_2 = {};
  #pragma clang loop unroll_count(4)
  for (long p = 0; p < k; ++p) {
    const vf32 b0 = load(b + 0);
    const vf32 b1 = load(b + 16);
    const vf32 b2 = load_tail(b + 32, 12);
    { const vf32 x = splat(a[0]); c0_0 += x * b0; c0_1 += x * b1; c0_2 += x * b2; }
    { const vf32 x = splat(a[8]); c1_0 += x * b0; c1_1 += x * b1; c1_2 += x * b2; }
    { const vf32 x = splat(a[16]); c2_0 += x * b0; c2_1 += x * b1; c2_2 += x * b2; }
    { const vf32 x = splat(a[24]); c3_0 += x * b0; c3_1 += x * b1; c3_2 += x * b2; }
    a += 1;
    b += 300;
  }
  if (!first) {
    c0_0 = load(c + 0) + c0_0;
    c0_1 = load(c + 16) + c0_1;
    c0_2 = load(c + 32) + c0_2;
    c1_0 = load(c + 256) + c1_0;
    c1_1 = load(c + 272) + c1_1;
    c1_2 = load(c + 288) + c1_2;
    c2_0 = load(c + 512) + c2_0;
    c2_1 = load(c + 528) + c2_1;
    c2_2 = load(c + 544) + c2_2;
    c3_0 = load(c + 768) + c3_0;
    c3_1 = load(c + 784) + c3_1;
    c3_2 = load(c + 800) + c3_2;
  }
  store(c + 0, c0_0);
  store(c + 16, c0_1);
  store(c + 32, c0_2);
  store(c + 256, c1_0);
  store(c + 272, c1_1);
  store(c + 288, c1_2);
  store(c + 512, c2_0);
  store(c + 528, c2_1);
  store(c + 544, c2_2);
  store(c + 768, c3_0);
  store(c + 784, c3_1);
  store(c + 800, c3_2);
}

extern "C" void tiles(char* const* args, long begin, long end, char* scratch) {
  const float* const a0 = (const float*)args[0];
  const float* const a1 = (const float*)args[1];
  for (long task = begin; task < end; ++task) {
    const long block = task / 1;
    const long m0 = 0, m1 = 16;
    const long c0 = 0, c1 = 300;
    const long b = 0;
    const long k_begin = 0, k_end = 8;
    const long k0 = k_begin, k1 = k_end;
    const long n0 = c0, n1 = c1;
    for (long m = m0; m < m1; m += 6) {
      const long rows = m + 6 < m1 ? 6 : m1 - m;
      const float* a = a0 + m * 8 + k0 * 1;
      for (long s0 = n0; s0 < n1; s0 += 192) {
        const long s1 = s0 + 192 < n1 ? s0 + 192 : n1;
        for (long n = s0; n < s1; n += 64) {
          const float* bp = a1 + k0 * 300 + n;
          float* c = (float*)(scratch + 128) + (n - s0);
          if (rows == 6) {
            if (n + 64 <= 300) tile(a, bp, c, k1 - k0, 1); else tile_n(a, bp, c, k1 - k0, 1);
          } else {
            if (n + 64 <= 300) tile_m(a, bp, c, k1 - k0, 1); else tile_m_n(a, bp, c, k1 - k0, 1);
          }
        }
        epilogue(args, b, m, rows, s0, s1, (float*)(scratch + 128) + (s0 - s0), 256, 5, 96, 300, 2, 192, 300, 6);
      }
    }
  }
}

extern "C" void moments(char* const* args, long begin, long end, char*) {
  float* const a3 = (float*)args[3];
  float* const a4 = (float*)args[4];
  for (long row = begin * 16; row < end * 16 && row < 16; ++row) {
    const long b = row / 16, m = row % 16;
    const float* const first = (const float*)args[5] + row * 6, * const last = first + 6;
    float sum_of_row = 0, squares_of_row = 0;
    for (const float* part = first; part < last; part += 3) sum_of_row += part[0] * part[2];
    for (const float* part = first; part < last; part += 3) {
      const float off = part[0] - sum_of_row / 300;
      squares_of_row += part[1] + off * off * part[2];
    }
    *(a3 + m) = sum_of_row;
    *(a4 + m) = squares_of_row;
  }
}

