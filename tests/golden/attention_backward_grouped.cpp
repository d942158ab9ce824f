// attention: attention
// schedule: attention block_q=16 block_k=16 mr=12 nv=1 pairs=0
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
INLINE vf32 splat(float x) { return vf32{x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x}; }
INLINE vf32 load(const float* p) { return *(const vf32_any*)p; }
INLINE void store(float* p, vf32 v) { *(vf32_any*)p = v; }
INLINE vi32 splat(int x) { return vi32{x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x}; }
INLINE void transpose(vf32 (&r)[16]) {
  vf32 a0 = __builtin_shufflevector(r[0], r[1], 0, 16, 1, 17, 4, 20, 5, 21, 8, 24, 9, 25, 12, 28, 13, 29);
  vf32 a1 = __builtin_shufflevector(r[0], r[1], 2, 18, 3, 19, 6, 22, 7, 23, 10, 26, 11, 27, 14, 30, 15, 31);
  vf32 a2 = __builtin_shufflevector(r[2], r[3], 0, 16, 1, 17, 4, 20, 5, 21, 8, 24, 9, 25, 12, 28, 13, 29);
  vf32 a3 = __builtin_shufflevector(r[2], r[3], 2, 18, 3, 19, 6, 22, 7, 23, 10, 26, 11, 27, 14, 30, 15, 31);
  vf32 a4 = __builtin_shufflevector(r[4], r[5], 0, 16, 1, 17, 4, 20, 5, 21, 8, 24, 9, 25, 12, 28, 13, 29);
  vf32 a5 = __builtin_shufflevector(r[4], r[5], 2, 18, 3, 19, 6, 22, 7, 23, 10, 26, 11, 27, 14, 30, 15, 31);
  vf32 a6 = __builtin_shufflevector(r[6], r[7], 0, 16, 1, 17, 4, 20, 5, 21, 8, 24, 9, 25, 12, 28, 13, 29);
  vf32 a7 = __builtin_shufflevector(r[6], r[7], 2, 18, 3, 19, 6, 22, 7, 23, 10, 26, 11, 27, 14, 30, 15, 31);
  vf32 a8 = __builtin_shufflevector(r[8], r[9], 0, 16, 1, 17, 4, 20, 5, 21, 8, 24, 9, 25, 12, 28, 13, 29);
  vf32 a9 = __builtin_shufflevector(r[8], r[9], 2, 18, 3, 19, 6, 22, 7, 23, 10, 26, 11, 27, 14, 30, 15, 31);
  vf32 a10 = __builtin_shufflevector(r[10], r[11], 0, 16, 1, 17, 4, 20, 5, 21, 8, 24, 9, 25, 12, 28, 13, 29);
  vf32 a11 = __builtin_shufflevector(r[10], r[11], 2, 18, 3, 19, 6, 22, 7, 23, 10, 26, 11, 27, 14, 30, 15, 31);
  vf32 a12 = __builtin_shufflevector(r[12], r[13], 0, 16, 1, 17, 4, 20, 5, 21, 8, 24, 9, 25, 12, 28, 13, 29);
  vf32 a13 = __builtin_shufflevector(r[12], r[13], 2, 18, 3, 19, 6, 22, 7, 23, 10, 26, 11, 27, 14, 30, 15, 31);
  vf32 a14 = __builtin_shufflevector(r[14], r[15], 0, 16, 1, 17, 4, 20, 5, 21, 8, 24, 9, 25, 12, 28, 13, 29);
  vf32 a15 = __builtin_shufflevector(r[14], r[15], 2, 18, 3, 19, 6, 22, 7, 23, 10, 26, 11, 27, 14, 30, 15, 31);
  vf32 b0 = __builtin_shufflevector(a0, a2, 0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29);
  vf32 b1 = __builtin_shufflevector(a0, a2, 2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31);
  vf32 b2 = __builtin_shufflevector(a1, a3, 0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29);
  vf32 b3 = __builtin_shufflevector(a1, a3, 2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31);
  vf32 b4 = __builtin_shufflevector(a4, a6, 0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29);
  vf32 b5 = __builtin_shufflevector(a4, a6, 2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31);
  vf32 b6 = __builtin_shufflevector(a5, a7, 0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29);
  vf32 b7 = __builtin_shufflevector(a5, a7, 2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31);
  vf32 b8 = __builtin_shufflevector(a8, a10, 0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29);
  vf32 b9 = __builtin_shufflevector(a8, a10, 2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31);
  vf32 b10 = __builtin_shufflevector(a9, a11, 0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29);
  vf32 b11 = __builtin_shufflevector(a9, a11, 2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31);
  vf32 b12 = __builtin_shufflevector(a12, a14, 0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29);
  vf32 b13 = __builtin_shufflevector(a12, a14, 2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31);
  vf32 b14 = __builtin_shufflevector(a13, a15, 0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29);
  vf32 b15 = __builtin_shufflevector(a13, a15, 2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31);
  vf32 p0_0 = __builtin_shufflevector(b0, b4, 0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27);
  vf32 p0_1 = __builtin_shufflevector(b0, b4, 4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31);
  vf32 p0_2 = __builtin_shufflevector(b8, b12, 0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27);
  vf32 p0_3 = __builtin_shufflevector(b8, b12, 4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31);
  vf32 c0 = __builtin_shufflevector(p0_0, p0_2, 0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27);
  vf32 c4 = __builtin_shufflevector(p0_1, p0_3, 0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27);
  vf32 c8 = __builtin_shufflevector(p0_0, p0_2, 4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31);
  vf32 c12 = __builtin_shufflevector(p0_1, p0_3, 4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31);
  vf32 p1_0 = __builtin_shufflevector(b1, b5, 0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27);
  vf32 p1_1 = __builtin_shufflevector(b1, b5, 4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31);
  vf32 p1_2 = __builtin_shufflevector(b9, b13, 0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27);
  vf32 p1_3 = __builtin_shufflevector(b9, b13, 4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31);
  vf32 c1 = __builtin_shufflevector(p1_0, p1_2, 0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27);
  vf32 c5 = __builtin_shufflevector(p1_1, p1_3, 0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27);
  vf32 c9 = __builtin_shufflevector(p1_0, p1_2, 4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31);
  vf32 c13 = __builtin_shufflevector(p1_1, p1_3, 4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31);
  vf32 p2_0 = __builtin_shufflevector(b2, b6, 0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27);
  vf32 p2_1 = __builtin_shufflevector(b2, b6, 4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31);
  vf32 p2_2 = __builtin_shufflevector(b10, b14, 0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27);
  vf32 p2_3 = __builtin_shufflevector(b10, b14, 4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31);
  vf32 c2 = __builtin_shufflevector(p2_0, p2_2, 0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27);
  vf32 c6 = __builtin_shufflevector(p2_1, p2_3, 0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27);
  vf32 c10 = __builtin_shufflevector(p2_0, p2_2, 4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31);
  vf32 c14 = __builtin_shufflevector(p2_1, p2_3, 4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31);
  vf32 p3_0 = __builtin_shufflevector(b3, b7, 0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27);
  vf32 p3_1 = __builtin_shufflevector(b3, b7, 4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31);
  vf32 p3_2 = __builtin_shufflevector(b11, b15, 0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27);
  vf32 p3_3 = __builtin_shufflevector(b11, b15, 4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31);
  vf32 c3 = __builtin_shufflevector(p3_0, p3_2, 0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27);
  vf32 c7 = __builtin_shufflevector(p3_1, p3_3, 0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27);
  vf32 c11 = __builtin_shufflevector(p3_0, p3_2, 4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31);
  vf32 c15 = __builtin_shufflevector(p3_1, p3_3, 4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31);
  r[0] = c0;
  r[1] = c1;
  r[2] = c2;
  r[3] = c3;
  r[4] = c4;
  r[5] = c5;
  r[6] = c6;
  r[7] = c7;
  r[8] = c8;
  r[9] = c9;
  r[10] = c10;
  r[11] = c11;
  r[12] = c12;
  r[13] = c13;
  r[14] = c14;
  r[15] = c15;
}
INLINE vi32 iota_i32() { return vi32{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}; }
INLINE vf32 select(vi32 m, vf32 a, vf32 b) { return m ? a : b; }
INLINE vf32 vmax(vf32 a, vf32 b) { return ((a > b) | (a != a)) ? a : b; }
INLINE vf32 vmin(vf32 a, vf32 b) { return ((a < b) | (a != a)) ? a : b; }
INLINE float vmax(float a, float b) { return a > b || a != a ? a : b; }
INLINE float vmin(float a, float b) { return a < b || a != a ? a : b; }
INLINE vf32 madd(vf32 a, vf32 b, vf32 c) { return __builtin_elementwise_fma(a, b, c); }
INLINE float sum(vf32 v) {
  v += __builtin_shufflevector(v, v, 8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7);
  v += __builtin_shufflevector(v, v, 4, 5, 6, 7, 0, 1, 2, 3, 12, 13, 14, 15, 8, 9, 10, 11);
  v += __builtin_shufflevector(v, v, 2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13);
  v += __builtin_shufflevector(v, v, 1, 0, 3, 2, 5, 4, 7, 6, 9, 8, 11, 10, 13, 12, 15, 14);
  return v[0];
}
// p * 2^n
INLINE vf32 scale(vf32 p, vf32 n) {
  return __builtin_ia32_scalefps512_mask(p, n, vf32{}, (unsigned short)-1, 4);
}
INLINE vf32 v_exp2(vf32 x) {
  vf32 r = __builtin_ia32_reduceps512_mask(x, 9, vf32{}, (unsigned short)-1, 4);
  vf32 p = splat(2.16129159e-4f);
  p = madd(p, r, splat(1.24678462e-3f));
  p = madd(p, r, splat(9.67545159e-3f));
  p = madd(p, r, splat(5.54852806e-2f));
  p = madd(p, r, splat(0.240229306f));
  p = madd(p, r, splat(0.693147044f));
  p = madd(p, r, splat(1.0f));
  return scale(p, x);
}

INLINE long smaller(long a, long b) { return a < b ? a : b; }
INLINE long larger(long a, long b) { return a > b ? a : b; }
INLINE long bounded(long x, long low, long high) { return x < low ? low : x > high ? high : x; }

// The rows of the next head, fetched on the way
struct Next {
  const float* q;
  const float* k;
  const float* v;
  const float* y;
  const float* dy;
};

// to[d][i] = x[i][d]
static __attribute__((noinline)) void pack_q(const float* x, float* to) {
  for (long i = 0; i < 16; i += 16) {
    {
      vf32 r[16];
      #pragma clang loop unroll(full)
      for (int l = 0; l < 16; ++l) r[l] = load(x + (i + l) * 16 + 0);
      transpose(r);
      #pragma clang loop unroll(full)
      for (int l = 0; l < 16; ++l) store(to + (0 + l) * 16 + i, r[l]);
    }
  }
}

// to[d][i] = x[i][d]
static __attribute__((noinline)) void pack_dy(const float* x, float* to) {
  for (long i = 0; i < 16; i += 16) {
    {
      vf32 r[16];
      #pragma clang loop unroll(full)
      for (int l = 0; l < 16; ++l) r[l] = load(x + (i + l) * 16 + 0);
      transpose(r);
      #pragma clang loop unroll(full)
      for (int l = 0; l < 16; ++l) store(to + (0 + l) * 16 + i, r[l]);
    }
  }
}

// 8 rows by 1 vectors
static __attribute__((noinline)) void tile0(const float* a, const float* b, float* c, long k, long first) {
  vf32 c0_0 = {};
  vf32 c1_0 = {};
  vf32 c2_0 = {};
  vf32 c3_0 = {};
  vf32 c4_0 = {};
  vf32 c5_0 = {};
  vf32 c6_0 = {};
  vf32 c7_0 = {};
  #pragma clang loop unroll_count(2)
  for (long p = 0; p < k; ++p) {
    const vf32 b0 = load(b + 0);
    { const vf32 x = splat(a[0]); c0_0 += x * b0; }
    { const vf32 x = splat(a[16]); c1_0 += x * b0; }
    { const vf32 x = splat(a[32]); c2_0 += x * b0; }
    { const vf32 x = splat(a[48]); c3_0 += x * b0; }
    { const vf32 x = splat(a[64]); c4_0 += x * b0; }
    { const vf32 x = splat(a[80]); c5_0 += x * b0; }
    { const vf32 x = splat(a[96]); c6_0 += x * b0; }
    { const vf32 x = splat(a[112]); c7_0 += x * b0; }
    a += 1;
    b += 16;
  }
  if (!first) {
    c0_0 = load(c + 0) + c0_0;
    c1_0 = load(c + 16) + c1_0;
    c2_0 = load(c + 32) + c2_0;
    c3_0 = load(c + 48) + c3_0;
    c4_0 = load(c + 64) + c4_0;
    c5_0 = load(c + 80) + c5_0;
    c6_0 = load(c + 96) + c6_0;
    c7_0 = load(c + 112) + c7_0;
  }
  store(c + 0, c0_0);
  store(c + 16, c1_0);
  store(c + 32, c2_0);
  store(c + 48, c3_0);
  store(c + 64, c4_0);
  store(c + 80, c5_0);
  store(c + 96, c6_0);
  store(c + 112, c7_0);
}

// 8 rows by 1 vectors
static __attribute__((noinline)) void tile1(const float* a, const float* b, float* c, long k, long first) {
  vf32 c0_0 = {};
  vf32 c1_0 = {};
  vf32 c2_0 = {};
  vf32 c3_0 = {};
  vf32 c4_0 = {};
  vf32 c5_0 = {};
  vf32 c6_0 = {};
  vf32 c7_0 = {};
  #pragma clang loop unroll_count(2)
  for (long p = 0; p < k; ++p) {
    const vf32 b0 = load(b + 0);
    { const vf32 x = splat(a[0]); c0_0 += x * b0; }
    { const vf32 x = splat(a[1]); c1_0 += x * b0; }
    { const vf32 x = splat(a[2]); c2_0 += x * b0; }
    { const vf32 x = splat(a[3]); c3_0 += x * b0; }
    { const vf32 x = splat(a[4]); c4_0 += x * b0; }
    { const vf32 x = splat(a[5]); c5_0 += x * b0; }
    { const vf32 x = splat(a[6]); c6_0 += x * b0; }
    { const vf32 x = splat(a[7]); c7_0 += x * b0; }
    a += 16;
    b += 16;
  }
  if (!first) {
    c0_0 = load(c + 0) + c0_0;
    c1_0 = load(c + 16) + c1_0;
    c2_0 = load(c + 32) + c2_0;
    c3_0 = load(c + 48) + c3_0;
    c4_0 = load(c + 64) + c4_0;
    c5_0 = load(c + 80) + c5_0;
    c6_0 = load(c + 96) + c6_0;
    c7_0 = load(c + 112) + c7_0;
  }
  store(c + 0, c0_0);
  store(c + 16, c1_0);
  store(c + 32, c2_0);
  store(c + 48, c3_0);
  store(c + 64, c4_0);
  store(c + 80, c5_0);
  store(c + 96, c6_0);
  store(c + 112, c7_0);
}

// 16 keys of one head, from k0 on; k, v, dk and dv point to the first of them.
// fresh: dk and dv are overwritten, not added to
static __attribute__((noinline)) void block(char* scratch, long k0, const float* q, const float* k, const float* v, const float* dy, float* dq, float* dk, float* dv, long fresh, const Next& next) {
  float* const p = (float*)(scratch + 2496);
  float* const ds = (float*)(scratch + 4352);
  const float* const lse = (float*)(scratch + 6208);
  const float* const delta = (float*)(scratch + 6336);
  // S^T = K Q^T and dP^T = V dO^T
  for (long i = 0; i < 16; i += 8) {
    for (long row = i; row < i + 8; ++row) {
      __builtin_prefetch(next.k + row * 16 + 0, 0, 2);
      __builtin_prefetch(next.q + row * 16 + 0, 0, 2);
    }
    const long last = i + 7;
    const long end = (16 + 15) / 16 * 16;
    long j = larger(0, k0 + i - 0) / 16 * 16;
    for (; j + 16 <= end; j += 16) {
      tile0(k + i * 16, (float*)(scratch + 320) + j, p + i * 16 + j, 16, 1);
    }
  }
  for (long i = 0; i < 16; i += 8) {
    for (long row = i; row < i + 8; ++row) {
      __builtin_prefetch(next.v + row * 16 + 0, 0, 2);
      __builtin_prefetch(next.dy + row * 16 + 0, 0, 2);
    }
    const long last = i + 7;
    const long end = (16 + 15) / 16 * 16;
    long j = larger(0, k0 + i - 0) / 16 * 16;
    for (; j + 16 <= end; j += 16) {
      tile0(v + i * 16, (float*)(scratch + 1408) + j, ds + i * 16 + j, 16, 1);
    }
  }
  for (long c = 0; c < 16; c += 16) {
    const vf32 l = load(lse + c), d = load(delta + c);
    // Keys that any of these queries sees, and inside those that all of them see.
    const long low = bounded(0 - k0, 0, 16);
    const long high = bounded(smaller(16, c + 15 + 1) - k0, low, 16);
    const long all_high = bounded(smaller(16, c + 1) - k0, low, high);
    #pragma clang loop unroll_count(2)
    for (long key = low; key < all_high; ++key) {
      const vf32 e = v_exp2(madd(load(p + key * 16 + c), splat(0.36067376f), -l));
      store(p + key * 16 + c, e);
      store(ds + key * 16 + c, e * (load(ds + key * 16 + c) - d) * 0.25f);
    }
    for (long key = all_high; key < high; ++key) {
      const vi32 unseen = (iota_i32() < (int)(k0 + key - (c) - 0));
      const vf32 e = select(unseen, vf32{}, v_exp2(madd(load(p + key * 16 + c), splat(0.36067376f), -l)));
      store(p + key * 16 + c, e);
      store(ds + key * 16 + c, select(unseen, vf32{}, e * (load(ds + key * 16 + c) - d) * 0.25f));
    }
    // Products reach past the band.
    for (long key = high; key < high + 12; ++key) {
      store(p + key * 16 + c, vf32{});
      store(ds + key * 16 + c, vf32{});
    }
  }
  // dV = P^T dO, dK = dS^T Q, dQ += dS K
  for (long i = 0; i < 16; i += 8) {
    for (long row = i; row < i + 8; ++row) {
      __builtin_prefetch(next.y + row * 16 + 0, 0, 2);
    }
    const long last = i + 7;
    const long from = larger(0, k0 + i - 0), to = 16;
    if (from >= to && !(fresh)) continue;
    for (long j = 0; j < 16; j += 16) {
      tile0(p + i * 16 + from * 1, dy + j + from * 16, dv + i * 16 + j, to - from, fresh);
    }
  }
  for (long i = 0; i < 16; i += 8) {
    const long last = i + 7;
    const long from = larger(0, k0 + i - 0), to = 16;
    if (from >= to && !(fresh)) continue;
    for (long j = 0; j < 16; j += 16) {
      tile0(ds + i * 16 + from * 1, q + j + from * 16, dk + i * 16 + j, to - from, fresh);
    }
  }
  for (long i = 0; i < 16; i += 8) {
    const long last = i + 7;
    const long from = 0, to = bounded(smaller(16, last + 1) - k0, 0, 16);
    if (from >= to && !(k0 == 0)) continue;
    for (long j = 0; j < 16; j += 16) {
      tile1(ds + i * 1 + from * 16, k + j + from * 16, dq + i * 16 + j, to - from, k0 == 0);
    }
  }
}

extern "C" void attention_backward(char* const* args, long begin, long end, char* scratch) {
  const float* const a0 = (const float*)args[0];
  const float* const a1 = (const float*)args[1];
  const float* const a2 = (const float*)args[2];
  const float* const a3 = (const float*)args[3];
  const float* const a4 = (const float*)args[4];
  const float* const a5 = (const float*)args[5];
  float* const a6 = (float*)args[6];
  float* const a7 = (float*)args[7];
  float* const a8 = (float*)args[8];
  for (long task = begin; task < end; ++task) {
    const long kv = task % 2, b = task / 2;
    auto* const k = a1 + 0 + 0 + kv * 256;
    auto* const v = a2 + 0 + 0 + kv * 256;
    auto* const dk = a7 + 0 + 0 + kv * 256;
    float* const to_dk = dk;
    auto* const dv = a8 + 0 + 0 + kv * 256;
    float* const to_dv = dv;
    for (long h = kv * 2; h < kv * 2 + 2; ++h) {
      auto* const q = a0 + 0 + 0 + h * 256;
      auto* const y = a4 + 0 + 0 + h * 256;
      auto* const dy = a3 + 0 + 0 + h * 256;
      auto* const dq = a6 + 0 + 0 + h * 256;
      float* const to_dq = dq;
      pack_q(q, (float*)(scratch + 320));
      pack_dy(dy, (float*)(scratch + 1408));
      float* const lse = (float*)(scratch + 6208);
      float* const delta = (float*)(scratch + 6336);
      for (long i = 16; i < 16; ++i) lse[i] = delta[i] = 0;
      // lse to base 2; delta = rowsum(dO * O)
      for (long i = 0; i < 16; ++i) {
        lse[i] = (a5 + 0 + 0 + h * 16)[i] * 1.442695f;
        vf32 total = {};
        total += load(dy + i * 16 + 0) * load(y + i * 16 + 0);
        delta[i] = sum(total);
      }
      const long after = b * 4 + h + 1 < 4 ? b * 4 + h + 1 : 3, next_b = after / 4, next_h = after % 4;
      const Next next = {a0 + 0 + 0 + next_h * 256, a1 + 0 + 0 + (next_h / 2) * 256, a2 + 0 + 0 + (next_h / 2) * 256, a4 + 0 + 0 + next_h * 256, a3 + 0 + 0 + next_h * 256};
      for (long k0 = 0; k0 + 16 <= 16; k0 += 16) block(scratch, k0, q, k + k0 * 16, v + k0 * 16, dy, to_dq, to_dk + k0 * 16, to_dv + k0 * 16, h == kv * 2, next);
    }
  }
}
