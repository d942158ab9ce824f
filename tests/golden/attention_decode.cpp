// attention: attention
// schedule: attention block_q=1 block_k=256 mr=12 nv=1 pairs=0
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
typedef float f32_part __attribute__((vector_size(64), may_alias));
INLINE f32_part f32_part_load(const float* p, long n) {
  return __builtin_ia32_loadups512_mask((const float*)p, f32_part{}, (unsigned short)((1u << n) - 1));
}
INLINE void f32_part_store(float* p, f32_part v, long n) { __builtin_ia32_storeups512_mask((float*)p, v, (unsigned short)((1u << n) - 1)); }
INLINE vf32 load_tail(const float* p, long n) { return (vf32)f32_part_load(p, n); }
INLINE void store_tail(float* p, vf32 v, long n) { f32_part_store(p, (f32_part)v, n); }
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
INLINE float max(vf32 v) {
  v = vmax(v, __builtin_shufflevector(v, v, 8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7));
  v = vmax(v, __builtin_shufflevector(v, v, 4, 5, 6, 7, 0, 1, 2, 3, 12, 13, 14, 15, 8, 9, 10, 11));
  v = vmax(v, __builtin_shufflevector(v, v, 2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13));
  v = vmax(v, __builtin_shufflevector(v, v, 1, 0, 3, 2, 5, 4, 7, 6, 9, 8, 11, 10, 13, 12, 15, 14));
  return v[0];
}
// p * 2^n
INLINE vf32 scale(vf32 p, vf32 n) {
  return __builtin_ia32_scalefps512_mask(p, n, vf32{}, (unsigned short)-1, 4);
}
INLINE vf32 v_exp(vf32 x) {
  x = -104.0f > x ? splat(-104.0f) : x;
  x = 89.0f < x ? splat(89.0f) : x;
  vf32 n = __builtin_elementwise_roundeven(x * 1.44269504f);
  vf32 r = madd(n, splat(-0.693359375f), x);
  r = madd(n, splat(2.12194440e-4f), r);
  vf32 q = splat(1.3814571e-3f);
  q = madd(q, r, splat(8.368731e-3f));
  q = madd(q, r, splat(4.1668389e-2f));
  q = madd(q, r, splat(1.6666521e-1f));
  q = madd(q, r, splat(4.9999994e-1f));
  return scale(madd(r * r, q, r) + 1.0f, n);
}

INLINE vf32 dot(const float* k, const float* q) {
  return load(k + 0) * load(q + 0);
}

// s[j] = k[j] q for `keys` keys; whole vectors are written
static __attribute__((noinline)) void dots(const float* k, const float* q, float* s, long keys) {
  for (long j = 0; j < keys; j += 16, k += 16 * 16) {
    vf32 r[16];
    if (j + 16 <= keys) {
      #pragma clang loop unroll(full)
      for (int l = 0; l < 16; ++l) r[l] = dot(k + l * 16, q);
    }
    else {
      for (int l = 0; l < 16; ++l) r[l] = j + l < keys ? dot(k + l * 16, q) : vf32{};
    }
    transpose(r);
    #pragma clang loop unroll(full)
    for (int l = 0; l < 16; l += 2) r[l] += r[l + 1];
    #pragma clang loop unroll(full)
    for (int l = 0; l < 16; l += 4) r[l] += r[l + 2];
    #pragma clang loop unroll(full)
    for (int l = 0; l < 16; l += 8) r[l] += r[l + 4];
    #pragma clang loop unroll(full)
    for (int l = 0; l < 16; l += 16) r[l] += r[l + 8];
    store(s + j, r[0]);
  }
}

// s becomes exp(s - top); top and the sum of s are written behind one another. Lanes past the last key count as
// minus infinity.
static __attribute__((noinline)) void softmax(float* s, long keys, float* statistics) {
  vf32 most = splat((-__builtin_inff()));
  for (long j = keys; j % 16 != 0; ++j) s[j] = (-__builtin_inff());
  for (long j = 0; j < keys; j += 16) { const vf32 x = load(s + j); most = x > most ? x : most; }
  const float top = max(most), base = top == (-__builtin_inff()) ? 0 : top;
  vf32 total = {};
  for (long j = 0; j < keys; j += 16) {
    const vf32 e = v_exp(load(s + j) - base);
    store(s + j, e);
    total += e;
  }
  statistics[0] = top;
  statistics[1] = sum(total);
}

// to = sum over the keys of s[j] v[j]; whole vectors are written
static __attribute__((noinline)) void values(const float* s, const float* v, long keys, float* to) {
  {
    vf32 x0 = {};
    vf32 y0 = {};
    long j = 0;
    for (; j + 2 <= keys; j += 2) {
      {
        const vf32 e = splat(s[j]);
        const float* const row = v + j * 16;
        x0 += e * load(row + 0);
      }
      {
        const vf32 e = splat(s[j + 1]);
        const float* const row = v + (j + 1) * 16;
        y0 += e * load(row + 0);
      }
    }
    if (j < keys) {
      const vf32 e = splat(s[j]);
      const float* const row = v + j * 16;
      x0 += e * load(row + 0);
    }
    store(to + 0, x0 + y0);
  }
}

extern "C" void attention_chunks(char* const* args, long begin, long end, char* scratch) {
  const float* const a0 = (const float*)args[0];
  const float* const a1 = (const float*)args[1];
  const float* const a2 = (const float*)args[2];
  float* const a3 = (float*)args[3];
  float* const queries = (float*)(scratch + 192);
  float* const scores = (float*)(scratch + 384);
  for (long task = begin; task < end; ++task) {
    const long chunk = task % 3, kv = task / 3 % 2, b = task / 3 / 2;
    const long k0 = chunk * 256, k1 = k0 + 256 < 600 ? k0 + 256 : 600;
    auto* const k = a1 + 0 + 0 + kv * 9600;
    auto* const v = a2 + 0 + 0 + kv * 9600;
    // The keys [low, high) that each query sees: first all the scores, then all the sums, so that K and V are read
    // one after the other.
    for (long row = 0; row < 2; ++row) {
      const long h = kv * 2 + row / 1, i = row % 1;
      const long low = k0, high = k1;
      float* const s = scores + row * 256;
      float* const partial = (float*)args[4] + (task * 2 + row) * 32;
      auto* const q = a0 + 0 + 0 + h * 16;
      float* const query = queries + row * 16;
      store(query + 0, load(q + i * 16 + 0) * 0.25f);
      dots(k + low * 16, query, s, high - low);
      softmax(s, high - low, partial + 16);
    }
    for (long row = 0; row < 2; ++row) {
      const long h = kv * 2 + row / 1, i = row % 1;
      const long low = k0, high = k1;
      float* const s = scores + row * 256;
      float* const partial = (float*)args[4] + (task * 2 + row) * 32;
      values(s, v + low * 16, high - low, partial);
    }
  }
}

// The chunks of one query, in order.
extern "C" void attention_merge(char* const* args, long begin, long end, char* scratch) {
  const float* const a0 = (const float*)args[0];
  const float* const a1 = (const float*)args[1];
  const float* const a2 = (const float*)args[2];
  float* const a3 = (float*)args[3];
  for (long task = begin; task < end; ++task) {
    const long i = task % 1, h = task / 1 % 4, b = task / 1 / 4;
    const float* const partial = (float*)args[4] + ((b * 2 + h / 2) * 3 * 2 + h % 2 * 1 + i) * 32;
    float top = (-__builtin_inff());
    for (long c = 0; c < 3; ++c) {
      const float x = partial[c * 64 + 16];
      top = x > top ? x : top;
    }
    const float base = top == (-__builtin_inff()) ? 0 : top;
    float total = 0;
    for (long c = 0; c < 3; ++c) total += v_exp(splat(partial[c * 64 + 16] - base))[0] * partial[c * 64 + 17];
    // No key was seen: zeros.
    const float inverse = total == 0 ? 0 : 1 / total;
    auto* const y = a3 + 0 + 0 + h * 16;
    for (long j = 0; j < 16; j += 16) {
      vf32 o = {};
      for (long c = 0; c < 3; ++c) o += v_exp(splat(partial[c * 64 + 16] - base)) * load(partial + c * 64 + j);
      o *= inverse;
      auto* const to = y + i * 16 + j;
      store(to, o);
    }
  }
}
