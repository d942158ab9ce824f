// contract: _contract _contract%2
// schedule: contract mr=8 nv=3 mc=32 nc=144 kc=64 pack_a=none pack_b=none k_split=1 unroll=4 maker=cpp pairs=0
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
#define ROUTINE static __attribute__((noinline))
// Rows by columns of C in tiles of `mr` rows and a panel of columns, each by a micro-kernel; the last rows and columns have their own. Rows i of A begin
// at i / a_rows * a_panel + i % a_rows, and each tile asks for `share` elements of each of the rows that follow its own, `ahead` from row to row.
ROUTINE void multiply_f32(const float* a, long a_rows, long a_panel, long ahead, long share, long rows, long mr,
                           const float* b, long b_panel, long columns, long panel, float* c, long c_row, long k, long first,
                           void (*tile)(const float*, const float*, float*, long, long), void (*tile_n)(const float*, const float*, float*, long, long),
                           void (*tile_m)(const float*, const float*, float*, long, long), void (*tile_m_n)(const float*, const float*, float*, long, long)) {
  for (long i = 0; i < rows; i += mr, c += mr * c_row) {
    const bool whole = rows - i >= mr;
    const float *x = a + i / a_rows * a_panel + i % a_rows, *y = b, *next = x + mr * ahead;
    float* z = c;
    for (long left = columns; left > 0; left -= panel, y += b_panel, z += panel, next += share) {
      if (share > 0) {
        for (long j = 0; j < mr; ++j) {
          for (long p = 0; p < share; p += 16) __builtin_prefetch(next + j * ahead + p);
        }
      }
      if (left >= panel) (whole ? tile : tile_m)(x, y, z, k, first); else (whole ? tile_n : tile_m_n)(x, y, z, k, first);
    }
  }
}

// 8 rows by 3 vectors
static __attribute__((noinline)) void tile(const float* a, const float* b, float* c, long k, long first) {
  vf32 c0_0 = {}, c0_1 = {}, c0_2 = {};
  vf32 c1_0 = {}, c1_1 = {}, c1_2 = {};
  vf32 c2_0 = {}, c2_1 = {}, c2_2 = {};
  vf32 c3_0 = {}, c3_1 = {}, c3_2 = {};
  vf32 c4_0 = {}, c4_1 = {}, c4_2 = {};
  vf32 c5_0 = {}, c5_1 = {}, c5_2 = {};
  vf32 c6_0 = {}, c6_1 = {}, c6_2 = {};
  vf32 c7_0 = {}, c7_1 = {}, c7_2 = {};
  #pragma clang loop unroll_count(4)
  for (long p = 0; p < k; ++p) {
    const vf32 b0 = load(b + 0);
    const vf32 b1 = load(b + 16);
    const vf32 b2 = load(b + 32);
    { const vf32 x = splat(a[0]); c0_0 += x * b0; c0_1 += x * b1; c0_2 += x * b2; }
    { const vf32 x = splat(a[64]); c1_0 += x * b0; c1_1 += x * b1; c1_2 += x * b2; }
    { const vf32 x = splat(a[128]); c2_0 += x * b0; c2_1 += x * b1; c2_2 += x * b2; }
    { const vf32 x = splat(a[192]); c3_0 += x * b0; c3_1 += x * b1; c3_2 += x * b2; }
    { const vf32 x = splat(a[256]); c4_0 += x * b0; c4_1 += x * b1; c4_2 += x * b2; }
    { const vf32 x = splat(a[320]); c5_0 += x * b0; c5_1 += x * b1; c5_2 += x * b2; }
    { const vf32 x = splat(a[384]); c6_0 += x * b0; c6_1 += x * b1; c6_2 += x * b2; }
    { const vf32 x = splat(a[448]); c7_0 += x * b0; c7_1 += x * b1; c7_2 += x * b2; }
    a += 1;
    b += 128;
  }
  if (!first) {
    c0_0 = load(c + 0) + c0_0;
    c0_1 = load(c + 16) + c0_1;
    c0_2 = load(c + 32) + c0_2;
    c1_0 = load(c + 128) + c1_0;
    c1_1 = load(c + 144) + c1_1;
    c1_2 = load(c + 160) + c1_2;
    c2_0 = load(c + 256) + c2_0;
    c2_1 = load(c + 272) + c2_1;
    c2_2 = load(c + 288) + c2_2;
    c3_0 = load(c + 384) + c3_0;
    c3_1 = load(c + 400) + c3_1;
    c3_2 = load(c + 416) + c3_2;
    c4_0 = load(c + 512) + c4_0;
    c4_1 = load(c + 528) + c4_1;
    c4_2 = load(c + 544) + c4_2;
    c5_0 = load(c + 640) + c5_0;
    c5_1 = load(c + 656) + c5_1;
    c5_2 = load(c + 672) + c5_2;
    c6_0 = load(c + 768) + c6_0;
    c6_1 = load(c + 784) + c6_1;
    c6_2 = load(c + 800) + c6_2;
    c7_0 = load(c + 896) + c7_0;
    c7_1 = load(c + 912) + c7_1;
    c7_2 = load(c + 928) + c7_2;
  }
  store(c + 0, c0_0);
  store(c + 16, c0_1);
  store(c + 32, c0_2);
  store(c + 128, c1_0);
  store(c + 144, c1_1);
  store(c + 160, c1_2);
  store(c + 256, c2_0);
  store(c + 272, c2_1);
  store(c + 288, c2_2);
  store(c + 384, c3_0);
  store(c + 400, c3_1);
  store(c + 416, c3_2);
  store(c + 512, c4_0);
  store(c + 528, c4_1);
  store(c + 544, c4_2);
  store(c + 640, c5_0);
  store(c + 656, c5_1);
  store(c + 672, c5_2);
  store(c + 768, c6_0);
  store(c + 784, c6_1);
  store(c + 800, c6_2);
  store(c + 896, c7_0);
  store(c + 912, c7_1);
  store(c + 928, c7_2);
}

// 8 rows by 2 vectors
static __attribute__((noinline)) void tile_n(const float* a, const float* b, float* c, long k, long first) {
  vf32 c0_0 = {}, c0_1 = {};
  vf32 c1_0 = {}, c1_1 = {};
  vf32 c2_0 = {}, c2_1 = {};
  vf32 c3_0 = {}, c3_1 = {};
  vf32 c4_0 = {}, c4_1 = {};
  vf32 c5_0 = {}, c5_1 = {};
  vf32 c6_0 = {}, c6_1 = {};
  vf32 c7_0 = {}, c7_1 = {};
  #pragma clang loop unroll_count(4)
  for (long p = 0; p < k; ++p) {
    const vf32 b0 = load(b + 0);
    const vf32 b1 = load(b + 16);
    { const vf32 x = splat(a[0]); c0_0 += x * b0; c0_1 += x * b1; }
    { const vf32 x = splat(a[64]); c1_0 += x * b0; c1_1 += x * b1; }
    { const vf32 x = splat(a[128]); c2_0 += x * b0; c2_1 += x * b1; }
    { const vf32 x = splat(a[192]); c3_0 += x * b0; c3_1 += x * b1; }
    { const vf32 x = splat(a[256]); c4_0 += x * b0; c4_1 += x * b1; }
    { const vf32 x = splat(a[320]); c5_0 += x * b0; c5_1 += x * b1; }
    { const vf32 x = splat(a[384]); c6_0 += x * b0; c6_1 += x * b1; }
    { const vf32 x = splat(a[448]); c7_0 += x * b0; c7_1 += x * b1; }
    a += 1;
    b += 128;
  }
  if (!first) {
    c0_0 = load(c + 0) + c0_0;
    c0_1 = load(c + 16) + c0_1;
    c1_0 = load(c + 128) + c1_0;
    c1_1 = load(c + 144) + c1_1;
    c2_0 = load(c + 256) + c2_0;
    c2_1 = load(c + 272) + c2_1;
    c3_0 = load(c + 384) + c3_0;
    c3_1 = load(c + 400) + c3_1;
    c4_0 = load(c + 512) + c4_0;
    c4_1 = load(c + 528) + c4_1;
    c5_0 = load(c + 640) + c5_0;
    c5_1 = load(c + 656) + c5_1;
    c6_0 = load(c + 768) + c6_0;
    c6_1 = load(c + 784) + c6_1;
    c7_0 = load(c + 896) + c7_0;
    c7_1 = load(c + 912) + c7_1;
  }
  store(c + 0, c0_0);
  store(c + 16, c0_1);
  store(c + 128, c1_0);
  store(c + 144, c1_1);
  store(c + 256, c2_0);
  store(c + 272, c2_1);
  store(c + 384, c3_0);
  store(c + 400, c3_1);
  store(c + 512, c4_0);
  store(c + 528, c4_1);
  store(c + 640, c5_0);
  store(c + 656, c5_1);
  store(c + 768, c6_0);
  store(c + 784, c6_1);
  store(c + 896, c7_0);
  store(c + 912, c7_1);
}

extern "C" void tiles(char* const* args, long begin, long end, char* scratch) {
  float* const a0 = (float*)args[0];
  const float* const a1 = (const float*)args[1];
  const float* const a2 = (const float*)args[2];
  for (long task = begin; task < end; ++task) {
    const long block = task / 3;
    const long m0 = task % 3 * 32, m1 = m0 + 32 < 96 ? m0 + 32 : 96;
    const long c0 = 0, c1 = 128;
    const long b = 0;
    const long k_begin = 0, k_end = 64;
    const long k0 = k_begin, k1 = k_end;
    const long n0 = c0, n1 = c1;
    {
      const long m = m0, n = n0;
      multiply_f32(a2 + m * 64 + k0 * 1, 1, 64, 64, 32, m1 - m0, 8,
        a1 + k0 * 128 + n, 48, n1 - n0, 48, a0 + m * 128 + n, 128, k1 - k0, 1,
        tile, tile_n, 0, 0);
    }
  }
}

