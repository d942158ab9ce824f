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
INLINE long larger(long a, long b) { return a > b ? a : b; }
INLINE long smaller(long a, long b) { return a < b ? a : b; }
INLINE long bounded(long x, long low, long high) { return x < low ? low : x > high ? high : x; }
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
INLINE vi32 splat(int x) { return x - vi32{}; }
INLINE void transpose(vf32 (&r)[16]) {
  vf32 t0, t1, t2, t3, t4, t5, t6, t7, t8, t9, t10, t11, t12, t13, t14, t15;
  asm("vunpcklps %1, %0, %16\n"
      "vunpckhps %1, %0, %17\n"
      "vunpcklps %3, %2, %18\n"
      "vunpckhps %3, %2, %19\n"
      "vunpcklps %5, %4, %20\n"
      "vunpckhps %5, %4, %21\n"
      "vunpcklps %7, %6, %22\n"
      "vunpckhps %7, %6, %23\n"
      "vunpcklps %9, %8, %24\n"
      "vunpckhps %9, %8, %25\n"
      "vunpcklps %11, %10, %26\n"
      "vunpckhps %11, %10, %27\n"
      "vunpcklps %13, %12, %28\n"
      "vunpckhps %13, %12, %29\n"
      "vunpcklps %15, %14, %30\n"
      "vunpckhps %15, %14, %31\n"
      "vunpcklpd %18, %16, %0\n"
      "vunpckhpd %18, %16, %1\n"
      "vunpcklpd %19, %17, %2\n"
      "vunpckhpd %19, %17, %3\n"
      "vunpcklpd %22, %20, %4\n"
      "vunpckhpd %22, %20, %5\n"
      "vunpcklpd %23, %21, %6\n"
      "vunpckhpd %23, %21, %7\n"
      "vunpcklpd %26, %24, %8\n"
      "vunpckhpd %26, %24, %9\n"
      "vunpcklpd %27, %25, %10\n"
      "vunpckhpd %27, %25, %11\n"
      "vunpcklpd %30, %28, %12\n"
      "vunpckhpd %30, %28, %13\n"
      "vunpcklpd %31, %29, %14\n"
      "vunpckhpd %31, %29, %15\n"
      "vshuff32x4 $0x88, %4, %0, %16\n"
      "vshuff32x4 $0xdd, %4, %0, %17\n"
      "vshuff32x4 $0x88, %12, %8, %18\n"
      "vshuff32x4 $0xdd, %12, %8, %19\n"
      "vshuff32x4 $0x88, %5, %1, %20\n"
      "vshuff32x4 $0xdd, %5, %1, %21\n"
      "vshuff32x4 $0x88, %13, %9, %22\n"
      "vshuff32x4 $0xdd, %13, %9, %23\n"
      "vshuff32x4 $0x88, %6, %2, %24\n"
      "vshuff32x4 $0xdd, %6, %2, %25\n"
      "vshuff32x4 $0x88, %14, %10, %26\n"
      "vshuff32x4 $0xdd, %14, %10, %27\n"
      "vshuff32x4 $0x88, %7, %3, %28\n"
      "vshuff32x4 $0xdd, %7, %3, %29\n"
      "vshuff32x4 $0x88, %15, %11, %30\n"
      "vshuff32x4 $0xdd, %15, %11, %31\n"
      "vshuff32x4 $0x88, %18, %16, %0\n"
      "vshuff32x4 $0x88, %22, %20, %1\n"
      "vshuff32x4 $0x88, %26, %24, %2\n"
      "vshuff32x4 $0x88, %30, %28, %3\n"
      "vshuff32x4 $0x88, %19, %17, %4\n"
      "vshuff32x4 $0x88, %23, %21, %5\n"
      "vshuff32x4 $0x88, %27, %25, %6\n"
      "vshuff32x4 $0x88, %31, %29, %7\n"
      "vshuff32x4 $0xdd, %18, %16, %8\n"
      "vshuff32x4 $0xdd, %22, %20, %9\n"
      "vshuff32x4 $0xdd, %26, %24, %10\n"
      "vshuff32x4 $0xdd, %30, %28, %11\n"
      "vshuff32x4 $0xdd, %19, %17, %12\n"
      "vshuff32x4 $0xdd, %23, %21, %13\n"
      "vshuff32x4 $0xdd, %27, %25, %14\n"
      "vshuff32x4 $0xdd, %31, %29, %15\n"
      : "+v"(r[0]), "+v"(r[1]), "+v"(r[2]), "+v"(r[3]), "+v"(r[4]), "+v"(r[5]), "+v"(r[6]), "+v"(r[7]), "+v"(r[8]), "+v"(r[9]), "+v"(r[10]), "+v"(r[11]), "+v"(r[12]), "+v"(r[13]), "+v"(r[14]), "+v"(r[15]), "=&v"(t0), "=&v"(t1), "=&v"(t2), "=&v"(t3), "=&v"(t4), "=&v"(t5), "=&v"(t6), "=&v"(t7), "=&v"(t8), "=&v"(t9), "=&v"(t10), "=&v"(t11), "=&v"(t12), "=&v"(t13), "=&v"(t14), "=&v"(t15));
}
INLINE vi32 iota_i32() { return vi32{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}; }
INLINE vf32 select(vi32 m, vf32 a, vf32 b) { return m ? a : b; }
INLINE vf32 vmax(vf32 a, vf32 b) {
  const vf32 m = a > b ? a : b;
  return a != a ? a : m;
}
INLINE vf32 vmin(vf32 a, vf32 b) {
  const vf32 m = a < b ? a : b;
  return a != a ? a : m;
}
INLINE float vmax(float a, float b) { return a > b || a != a ? a : b; }
INLINE float vmin(float a, float b) { return a < b || a != a ? a : b; }
INLINE vf32 madd(vf32 a, vf32 b, vf32 c) { return __builtin_elementwise_fma(a, b, c); }
INLINE float sum(vf32 v) {
  typedef float h8_t __attribute__((vector_size(32)));
  const h8_t h8 = __builtin_shufflevector(v, v, 0, 1, 2, 3, 4, 5, 6, 7) + __builtin_shufflevector(v, v, 8, 9, 10, 11, 12, 13, 14, 15);
  typedef float h4_t __attribute__((vector_size(16)));
  const h4_t h4 = __builtin_shufflevector(h8, h8, 0, 1, 2, 3) + __builtin_shufflevector(h8, h8, 4, 5, 6, 7);
  typedef float h2_t __attribute__((vector_size(8)));
  const h2_t h2 = __builtin_shufflevector(h4, h4, 0, 1) + __builtin_shufflevector(h4, h4, 2, 3);
  return h2[0] + h2[1];
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
#define ROUTINE static __attribute__((noinline))
// Asks for rows of so many bytes, `row` from one to the next.
ROUTINE void fetch_rows(const void* from, long row, long rows, long bytes) {
  const char* x = (const char*)from;
  for (long i = 0; i < rows; ++i, x += row) {
    for (long at = 0; at < bytes; at += 64) __builtin_prefetch(x + at, 0, 2);
  }
}
// Columns become rows, in panels: one behind the other, as many as `panel` rows of `from` wide; zeros fill the last vector.
ROUTINE void pack_squares_f32(const float* from, long row, long rows, long columns, float* to, long panel, long panel_stride) {
  for (long i = 0; i < rows; i += 16, from += 16 * row) {
    float* y = to + i / panel * panel_stride + i % panel;
    const long height = smaller(rows - i, 16);
    long j = 0;
    if (height == 16) {
      for (; j + 16 <= columns; j += 16) {
        vf32 r[16];
        const float* x = from + j;
#pragma clang loop unroll(full)
        for (int l = 0; l < 16; ++l, x += row) {
          __builtin_prefetch(x + 128);
          r[l] = load(x);
        }
        transpose(r);
#pragma clang loop unroll(full)
        for (int l = 0; l < 16; ++l, y += panel) store(y, r[l]);
      }
    }
    for (; j < columns; j += 16) {
      const long width = smaller(columns - j, 16);
      vf32 r[16] = {};
      for (int l = 0; l < height; ++l) r[l] = load_tail(from + l * row + j, width);
      transpose(r);
      for (int l = 0; l < width; ++l, y += panel) store(y, r[l]);
    }
  }
}
// Weights and gradients of the scores of some keys, from k0 on, in the place of scores and gradients of weights.
ROUTINE void score_gradients(float* p, float* ds, const float* lse, const float* delta, long k0, float factor, float scale, long row, long queries, long block, long keys, long right) {
  for (long c = 0; c < queries; c += 16) {
    const vf32 l = load(lse + c), d = load(delta + c);
    // Keys that any of these queries sees, and inside those that all of them see.
    const long low = bounded(0 - k0, 0, block);
    const long high = bounded(smaller(keys, c + 15 + right + 1) - k0, low, block);
    const long all_high = bounded(smaller(keys, c + right + 1) - k0, low, high);
    #pragma clang loop unroll_count(2)
    for (long key = low; key < all_high; ++key) {
      const vf32 e = v_exp2(madd(load(p + key * row + c), splat(factor), -l));
      store(p + key * row + c, e);
      store(ds + key * row + c, e * (load(ds + key * row + c) - d) * scale);
    }
    for (long key = all_high; key < high; ++key) {
      const vi32 unseen = (iota_i32() < (int)(k0 + key - (c) - right));
      const vf32 e = select(unseen, vf32{}, v_exp2(madd(load(p + key * row + c), splat(factor), -l)));
      store(p + key * row + c, e);
      store(ds + key * row + c, select(unseen, vf32{}, e * (load(ds + key * row + c) - d) * scale));
    }
    // Products reach past the band.
    for (long key = high; key < high + 12; ++key) {
      store(p + key * row + c, vf32{});
      store(ds + key * row + c, vf32{});
    }
  }
}
// The logarithms of the sums to base 2; delta = rowsum(dO * O). Behind the last query, zeros.
ROUTINE void statistics(float* lse, float* delta, const float* log_sum_exps, const float* y, const float* dy, long queries, long row, long y_row, long dy_row) {
  for (long i = queries; i < row; ++i) lse[i] = delta[i] = 0;
  for (long i = 0; i < queries; ++i, y += y_row, dy += dy_row) {
    lse[i] = log_sum_exps[i] * 1.442695f;
    vf32 total = {};
    total += load(dy + 0) * load(y + 0);
    delta[i] = sum(total);
  }
}

// The rows of the next head, fetched on the way
struct Next {
  const float* q;
  const float* k;
  const float* v;
  const float* y;
  const float* dy;
};

// 8 rows by 1 vectors; machine code from asmjit
asm(".text\n.p2align 6\n.globl tile0\n.type tile0,@function\ntile0:\n"
    ".byte 197,248,87,192,197,240,87,201,197,232,87,210,197,224,87,219,197,216,87,228,197,208,87,237\n"
    ".byte 197,200,87,246,197,192,87,255,72,131,249,4,15,140,233,1,0,0,144,144,144,144,144,144\n"
    ".byte 144,144,144,144,144,144,144,144,144,144,144,144,144,144,144,144,98,113,124,72,16,6,98,114\n"
    ".byte 125,72,24,15,98,210,53,72,184,192,98,114,125,72,24,79,16,98,210,53,72,184,200,98\n"
    ".byte 114,125,72,24,79,32,98,210,53,72,184,208,98,114,125,72,24,79,48,98,210,53,72,184\n"
    ".byte 216,98,114,125,72,24,79,64,98,210,53,72,184,224,98,114,125,72,24,79,80,98,210,53\n"
    ".byte 72,184,232,98,114,125,72,24,79,96,98,210,53,72,184,240,98,114,125,72,24,79,112,98\n"
    ".byte 210,53,72,184,248,98,113,124,72,16,70,1,98,114,125,72,24,79,1,98,210,53,72,184\n"
    ".byte 192,98,114,125,72,24,79,17,98,210,53,72,184,200,98,114,125,72,24,79,33,98,210,53\n"
    ".byte 72,184,208,98,114,125,72,24,79,49,98,210,53,72,184,216,98,114,125,72,24,79,65,98\n"
    ".byte 210,53,72,184,224,98,114,125,72,24,79,81,98,210,53,72,184,232,98,114,125,72,24,79\n"
    ".byte 97,98,210,53,72,184,240,98,114,125,72,24,79,113,98,210,53,72,184,248,98,113,124,72\n"
    ".byte 16,70,2,98,114,125,72,24,79,2,98,210,53,72,184,192,98,114,125,72,24,79,18,98\n"
    ".byte 210,53,72,184,200,98,114,125,72,24,79,34,98,210,53,72,184,208,98,114,125,72,24,79\n"
    ".byte 50,98,210,53,72,184,216,98,114,125,72,24,79,66,98,210,53,72,184,224,98,114,125,72\n"
    ".byte 24,79,82,98,210,53,72,184,232,98,114,125,72,24,79,98,98,210,53,72,184,240,98,114\n"
    ".byte 125,72,24,79,114,98,210,53,72,184,248,98,113,124,72,16,70,3,98,114,125,72,24,79\n"
    ".byte 3,98,210,53,72,184,192,98,114,125,72,24,79,19,98,210,53,72,184,200,98,114,125,72\n"
    ".byte 24,79,35,98,210,53,72,184,208,98,114,125,72,24,79,51,98,210,53,72,184,216,98,114\n"
    ".byte 125,72,24,79,67,98,210,53,72,184,224,98,114,125,72,24,79,83,98,210,53,72,184,232\n"
    ".byte 98,114,125,72,24,79,99,98,210,53,72,184,240,98,114,125,72,24,79,115,98,210,53,72\n"
    ".byte 184,248,72,131,199,16,72,129,198,0,1,0,0,72,131,233,4,72,131,249,4,15,141,45\n"
    ".byte 254,255,255,72,131,249,1,15,140,130,0,0,0,144,144,144,98,113,124,72,16,6,98,114\n"
    ".byte 125,72,24,15,98,210,53,72,184,192,98,114,125,72,24,79,16,98,210,53,72,184,200,98\n"
    ".byte 114,125,72,24,79,32,98,210,53,72,184,208,98,114,125,72,24,79,48,98,210,53,72,184\n"
    ".byte 216,98,114,125,72,24,79,64,98,210,53,72,184,224,98,114,125,72,24,79,80,98,210,53\n"
    ".byte 72,184,232,98,114,125,72,24,79,96,98,210,53,72,184,240,98,114,125,72,24,79,112,98\n"
    ".byte 210,53,72,184,248,72,131,199,4,72,131,198,64,72,131,233,1,72,131,249,1,125,129,77\n"
    ".byte 133,192,15,133,55,0,0,0,98,241,124,72,88,2,98,241,116,72,88,74,1,98,241,108\n"
    ".byte 72,88,82,2,98,241,100,72,88,90,3,98,241,92,72,88,98,4,98,241,84,72,88,106\n"
    ".byte 5,98,241,76,72,88,114,6,98,241,68,72,88,122,7,98,241,124,72,17,2,98,241,124\n"
    ".byte 72,17,74,1,98,241,124,72,17,82,2,98,241,124,72,17,90,3,98,241,124,72,17,98\n"
    ".byte 4,98,241,124,72,17,106,5,98,241,124,72,17,114,6,98,241,124,72,17,122,7,197,248\n"
    ".byte 119,195\n"
    ".size tile0, .-tile0\n");
extern "C" __attribute__((visibility("hidden"))) void tile0(const float* a, const float* b, float* c, long k, long first);

// 8 rows by 1 vectors; machine code from asmjit
asm(".text\n.p2align 6\n.globl tile1\n.type tile1,@function\ntile1:\n"
    ".byte 197,248,87,192,197,240,87,201,197,232,87,210,197,224,87,219,197,216,87,228,197,208,87,237\n"
    ".byte 197,200,87,246,197,192,87,255,72,131,249,4,15,140,236,1,0,0,144,144,144,144,144,144\n"
    ".byte 144,144,144,144,144,144,144,144,144,144,144,144,144,144,144,144,98,113,124,72,16,6,98,114\n"
    ".byte 125,72,24,15,98,210,53,72,184,192,98,114,125,72,24,79,1,98,210,53,72,184,200,98\n"
    ".byte 114,125,72,24,79,2,98,210,53,72,184,208,98,114,125,72,24,79,3,98,210,53,72,184\n"
    ".byte 216,98,114,125,72,24,79,4,98,210,53,72,184,224,98,114,125,72,24,79,5,98,210,53\n"
    ".byte 72,184,232,98,114,125,72,24,79,6,98,210,53,72,184,240,98,114,125,72,24,79,7,98\n"
    ".byte 210,53,72,184,248,98,113,124,72,16,70,1,98,114,125,72,24,79,16,98,210,53,72,184\n"
    ".byte 192,98,114,125,72,24,79,17,98,210,53,72,184,200,98,114,125,72,24,79,18,98,210,53\n"
    ".byte 72,184,208,98,114,125,72,24,79,19,98,210,53,72,184,216,98,114,125,72,24,79,20,98\n"
    ".byte 210,53,72,184,224,98,114,125,72,24,79,21,98,210,53,72,184,232,98,114,125,72,24,79\n"
    ".byte 22,98,210,53,72,184,240,98,114,125,72,24,79,23,98,210,53,72,184,248,98,113,124,72\n"
    ".byte 16,70,2,98,114,125,72,24,79,32,98,210,53,72,184,192,98,114,125,72,24,79,33,98\n"
    ".byte 210,53,72,184,200,98,114,125,72,24,79,34,98,210,53,72,184,208,98,114,125,72,24,79\n"
    ".byte 35,98,210,53,72,184,216,98,114,125,72,24,79,36,98,210,53,72,184,224,98,114,125,72\n"
    ".byte 24,79,37,98,210,53,72,184,232,98,114,125,72,24,79,38,98,210,53,72,184,240,98,114\n"
    ".byte 125,72,24,79,39,98,210,53,72,184,248,98,113,124,72,16,70,3,98,114,125,72,24,79\n"
    ".byte 48,98,210,53,72,184,192,98,114,125,72,24,79,49,98,210,53,72,184,200,98,114,125,72\n"
    ".byte 24,79,50,98,210,53,72,184,208,98,114,125,72,24,79,51,98,210,53,72,184,216,98,114\n"
    ".byte 125,72,24,79,52,98,210,53,72,184,224,98,114,125,72,24,79,53,98,210,53,72,184,232\n"
    ".byte 98,114,125,72,24,79,54,98,210,53,72,184,240,98,114,125,72,24,79,55,98,210,53,72\n"
    ".byte 184,248,72,129,199,0,1,0,0,72,129,198,0,1,0,0,72,131,233,4,72,131,249,4\n"
    ".byte 15,141,42,254,255,255,72,131,249,1,15,140,127,0,0,0,98,113,124,72,16,6,98,114\n"
    ".byte 125,72,24,15,98,210,53,72,184,192,98,114,125,72,24,79,1,98,210,53,72,184,200,98\n"
    ".byte 114,125,72,24,79,2,98,210,53,72,184,208,98,114,125,72,24,79,3,98,210,53,72,184\n"
    ".byte 216,98,114,125,72,24,79,4,98,210,53,72,184,224,98,114,125,72,24,79,5,98,210,53\n"
    ".byte 72,184,232,98,114,125,72,24,79,6,98,210,53,72,184,240,98,114,125,72,24,79,7,98\n"
    ".byte 210,53,72,184,248,72,131,199,64,72,131,198,64,72,131,233,1,72,131,249,1,125,129,77\n"
    ".byte 133,192,15,133,55,0,0,0,98,241,124,72,88,2,98,241,116,72,88,74,1,98,241,108\n"
    ".byte 72,88,82,2,98,241,100,72,88,90,3,98,241,92,72,88,98,4,98,241,84,72,88,106\n"
    ".byte 5,98,241,76,72,88,114,6,98,241,68,72,88,122,7,98,241,124,72,17,2,98,241,124\n"
    ".byte 72,17,74,1,98,241,124,72,17,82,2,98,241,124,72,17,90,3,98,241,124,72,17,98\n"
    ".byte 4,98,241,124,72,17,106,5,98,241,124,72,17,114,6,98,241,124,72,17,122,7,197,248\n"
    ".byte 119,195\n"
    ".size tile1, .-tile1\n");
extern "C" __attribute__((visibility("hidden"))) void tile1(const float* a, const float* b, float* c, long k, long first);

// 16 keys of one head, from k0 on; k, v, dk and dv point to the first of them.
// fresh: dk and dv are overwritten, not added to
static __attribute__((noinline)) void block(char* scratch, long k0, const float* q, const float* k, const float* v, const float* dy, float* dq, float* dk, float* dv, long fresh, const Next& next) {
  float* const p = (float*)(scratch + 2496);
  float* const ds = (float*)(scratch + 4352);
  // S^T = K Q^T and dP^T = V dO^T
  for (long i = 0; i < 16; i += 8) {
    fetch_rows(next.k + i * 16, 64, 8, 64);
    fetch_rows(next.q + i * 16, 64, 8, 64);
    const long last = i + 7;
    const long end = (16 + 15) / 16 * 16;
    long j = larger(0, k0 + i - 0) / 16 * 16;
    for (; j + 16 <= end; j += 16) {
      tile0(k + i * 16, (float*)(scratch + 320) + j, p + i * 16 + j, 16, 1);
    }
  }
  for (long i = 0; i < 16; i += 8) {
    fetch_rows(next.v + i * 16, 64, 8, 64);
    fetch_rows(next.dy + i * 16, 64, 8, 64);
    const long last = i + 7;
    const long end = (16 + 15) / 16 * 16;
    long j = larger(0, k0 + i - 0) / 16 * 16;
    for (; j + 16 <= end; j += 16) {
      tile0(v + i * 16, (float*)(scratch + 1408) + j, ds + i * 16 + j, 16, 1);
    }
  }
  score_gradients(p, ds, (float*)(scratch + 6208), (float*)(scratch + 6336), k0, 0.36067376f, 0.25f, 16, 16, 16, 16, 0);
  // dV = P^T dO, dK = dS^T Q, dQ += dS K
  for (long i = 0; i < 16; i += 8) {
    fetch_rows(next.y + i * 16, 64, 8, 64);
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
      pack_squares_f32(q, 16, 16, 16, (float*)(scratch + 320), 16, 0);
      pack_squares_f32(dy, 16, 16, 16, (float*)(scratch + 1408), 16, 0);
      statistics((float*)(scratch + 6208), (float*)(scratch + 6336), a5 + 0 + 0 + h * 16, y, dy, 16, 16, 16, 16);
      const long after = b * 4 + h + 1 < 4 ? b * 4 + h + 1 : 3, next_b = after / 4, next_h = after % 4;
      const Next next = {a0 + 0 + 0 + next_h * 256, a1 + 0 + 0 + (next_h / 2) * 256, a2 + 0 + 0 + (next_h / 2) * 256, a4 + 0 + 0 + next_h * 256, a3 + 0 + 0 + next_h * 256};
      for (long k0 = 0; k0 + 16 <= 16; k0 += 16) block(scratch, k0, q, k + k0 * 16, v + k0 * 16, dy, to_dq, to_dk + k0 * 16, to_dv + k0 * 16, h == kv * 2, next);
    }
  }
}
