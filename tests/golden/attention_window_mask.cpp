// attention: attention
// schedule: attention block_q=16 block_k=24 mr=12 nv=1 pairs=0
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
INLINE vf32 v_log(vf32 a) {
  vi32 tiny = a < 0x1p-126f;
  vf32 x = tiny ? a * 0x1p23f : a;
  vi32 i = (vi32)x - 0x3f3504f3;
  vf32 e = __builtin_convertvector((i >> 23) + (tiny & -23), vf32);
  vf32 f = (vf32)((i & 0x7fffff) + 0x3f3504f3) - 1.0f;
  vf32 p = splat(6.7466415e-2f);
  p = madd(p, f, splat(-0.11675641f));
  p = madd(p, f, splat(0.11888155f));
  p = madd(p, f, splat(-0.12405591f));
  p = madd(p, f, splat(0.14219554f));
  p = madd(p, f, splat(-0.16667996f));
  p = madd(p, f, splat(0.20002119f));
  p = madd(p, f, splat(-0.25000009f));
  p = madd(p, f, splat(0.33333313f));
  vf32 f2 = f * f;
  vf32 y = madd(e, splat(-2.12194440e-4f), f2 * f * p);
  y = madd(f2, splat(-0.5f), y) + f;
  y = madd(e, splat(0.693359375f), y);
  y = a == 0.0f ? splat(-__builtin_inff()) : y;
  y = a < 0.0f ? splat(__builtin_nanf("")) : y;
  return ((a == __builtin_inff()) | (a != a)) ? a : y;
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
// Rows to where they are wanted, each times its factor.
ROUTINE void store_rows(const float* from, const float* factors, float* to, long rows, long from_row, long to_row) {
  for (long i = 0; i < rows; ++i, from += from_row, to += to_row) {
    store(to + 0, load(from + 0) * factors[i]);
  }
}

// scores[j][l] = scale * scores[j][l] + mask[query + l][key + j]
static __attribute__((noinline)) void add_mask(float* scores, const float* mask, long query, long key, long keys, long queries) {
  for (long j = 0; j < keys; j += 16) {
    vf32 r[16];
    if (queries == 16 && j + 16 <= keys) {
      #pragma clang loop unroll(full)
      for (int l = 0; l < 16; ++l) r[l] = load(mask + (query + l) * 24 + key + j);
      transpose(r);
      #pragma clang loop unroll(full)
      for (int l = 0; l < 16; ++l) store(scores + (j + l) * 16, load(scores + (j + l) * 16) * 0.25f + r[l]);
      continue;
    }
    const long n = keys - j < 16 ? keys - j : 16;
    #pragma clang loop unroll(full)
    for (int l = 0; l < 16; ++l) r[l] = vf32{};
    for (int l = 0; l < queries; ++l) r[l] = load_tail(mask + (query + l) * 24 + key + j, n);
    transpose(r);
    for (int l = 0; l < n; ++l) store(scores + (j + l) * 16, load(scores + (j + l) * 16) * 0.25f + r[l]);
  }
}

// 12 rows by 1 vectors; machine code from asmjit
asm(".text\n.p2align 6\n.globl tile0\n.type tile0,@function\ntile0:\n"
    ".byte 197,248,87,192,197,240,87,201,197,232,87,210,197,224,87,219,197,216,87,228,197,208,87,237\n"
    ".byte 197,200,87,246,197,192,87,255,196,65,56,87,192,196,65,48,87,201,196,65,40,87,210,196\n"
    ".byte 65,32,87,219,72,131,249,4,15,140,213,2,0,0,144,144,98,113,124,72,16,38,98,114\n"
    ".byte 125,72,24,47,98,210,21,72,184,196,98,114,125,72,24,111,16,98,210,21,72,184,204,98\n"
    ".byte 114,125,72,24,111,32,98,210,21,72,184,212,98,114,125,72,24,111,48,98,210,21,72,184\n"
    ".byte 220,98,114,125,72,24,111,64,98,210,21,72,184,228,98,114,125,72,24,111,80,98,210,21\n"
    ".byte 72,184,236,98,114,125,72,24,111,96,98,210,21,72,184,244,98,114,125,72,24,111,112,98\n"
    ".byte 210,21,72,184,252,98,114,125,72,24,175,0,2,0,0,98,82,21,72,184,196,98,114,125\n"
    ".byte 72,24,175,64,2,0,0,98,82,21,72,184,204,98,114,125,72,24,175,128,2,0,0,98\n"
    ".byte 82,21,72,184,212,98,114,125,72,24,175,192,2,0,0,98,82,21,72,184,220,98,113,124\n"
    ".byte 72,16,102,1,98,114,125,72,24,111,1,98,210,21,72,184,196,98,114,125,72,24,111,17\n"
    ".byte 98,210,21,72,184,204,98,114,125,72,24,111,33,98,210,21,72,184,212,98,114,125,72,24\n"
    ".byte 111,49,98,210,21,72,184,220,98,114,125,72,24,111,65,98,210,21,72,184,228,98,114,125\n"
    ".byte 72,24,111,81,98,210,21,72,184,236,98,114,125,72,24,111,97,98,210,21,72,184,244,98\n"
    ".byte 114,125,72,24,111,113,98,210,21,72,184,252,98,114,125,72,24,175,4,2,0,0,98,82\n"
    ".byte 21,72,184,196,98,114,125,72,24,175,68,2,0,0,98,82,21,72,184,204,98,114,125,72\n"
    ".byte 24,175,132,2,0,0,98,82,21,72,184,212,98,114,125,72,24,175,196,2,0,0,98,82\n"
    ".byte 21,72,184,220,98,113,124,72,16,102,2,98,114,125,72,24,111,2,98,210,21,72,184,196\n"
    ".byte 98,114,125,72,24,111,18,98,210,21,72,184,204,98,114,125,72,24,111,34,98,210,21,72\n"
    ".byte 184,212,98,114,125,72,24,111,50,98,210,21,72,184,220,98,114,125,72,24,111,66,98,210\n"
    ".byte 21,72,184,228,98,114,125,72,24,111,82,98,210,21,72,184,236,98,114,125,72,24,111,98\n"
    ".byte 98,210,21,72,184,244,98,114,125,72,24,111,114,98,210,21,72,184,252,98,114,125,72,24\n"
    ".byte 175,8,2,0,0,98,82,21,72,184,196,98,114,125,72,24,175,72,2,0,0,98,82,21\n"
    ".byte 72,184,204,98,114,125,72,24,175,136,2,0,0,98,82,21,72,184,212,98,114,125,72,24\n"
    ".byte 175,200,2,0,0,98,82,21,72,184,220,98,113,124,72,16,102,3,98,114,125,72,24,111\n"
    ".byte 3,98,210,21,72,184,196,98,114,125,72,24,111,19,98,210,21,72,184,204,98,114,125,72\n"
    ".byte 24,111,35,98,210,21,72,184,212,98,114,125,72,24,111,51,98,210,21,72,184,220,98,114\n"
    ".byte 125,72,24,111,67,98,210,21,72,184,228,98,114,125,72,24,111,83,98,210,21,72,184,236\n"
    ".byte 98,114,125,72,24,111,99,98,210,21,72,184,244,98,114,125,72,24,111,115,98,210,21,72\n"
    ".byte 184,252,98,114,125,72,24,175,12,2,0,0,98,82,21,72,184,196,98,114,125,72,24,175\n"
    ".byte 76,2,0,0,98,82,21,72,184,204,98,114,125,72,24,175,140,2,0,0,98,82,21,72\n"
    ".byte 184,212,98,114,125,72,24,175,204,2,0,0,98,82,21,72,184,220,72,131,199,16,72,129\n"
    ".byte 198,0,1,0,0,72,131,233,4,72,131,249,4,15,141,45,253,255,255,72,131,249,1,15\n"
    ".byte 140,198,0,0,0,144,144,144,98,113,124,72,16,38,98,114,125,72,24,47,98,210,21,72\n"
    ".byte 184,196,98,114,125,72,24,111,16,98,210,21,72,184,204,98,114,125,72,24,111,32,98,210\n"
    ".byte 21,72,184,212,98,114,125,72,24,111,48,98,210,21,72,184,220,98,114,125,72,24,111,64\n"
    ".byte 98,210,21,72,184,228,98,114,125,72,24,111,80,98,210,21,72,184,236,98,114,125,72,24\n"
    ".byte 111,96,98,210,21,72,184,244,98,114,125,72,24,111,112,98,210,21,72,184,252,98,114,125\n"
    ".byte 72,24,175,0,2,0,0,98,82,21,72,184,196,98,114,125,72,24,175,64,2,0,0,98\n"
    ".byte 82,21,72,184,204,98,114,125,72,24,175,128,2,0,0,98,82,21,72,184,212,98,114,125\n"
    ".byte 72,24,175,192,2,0,0,98,82,21,72,184,220,72,131,199,4,72,131,198,64,72,131,233\n"
    ".byte 1,72,131,249,1,15,141,61,255,255,255,77,133,192,15,133,83,0,0,0,98,241,124,72\n"
    ".byte 88,2,98,241,116,72,88,74,1,98,241,108,72,88,82,2,98,241,100,72,88,90,3,98\n"
    ".byte 241,92,72,88,98,4,98,241,84,72,88,106,5,98,241,76,72,88,114,6,98,241,68,72\n"
    ".byte 88,122,7,98,113,60,72,88,66,8,98,113,52,72,88,74,9,98,113,44,72,88,82,10\n"
    ".byte 98,113,36,72,88,90,11,98,241,124,72,17,2,98,241,124,72,17,74,1,98,241,124,72\n"
    ".byte 17,82,2,98,241,124,72,17,90,3,98,241,124,72,17,98,4,98,241,124,72,17,106,5\n"
    ".byte 98,241,124,72,17,114,6,98,241,124,72,17,122,7,98,113,124,72,17,66,8,98,113,124\n"
    ".byte 72,17,74,9,98,113,124,72,17,82,10,98,113,124,72,17,90,11,197,248,119,195\n"
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

// Weights of the scores of some queries, from q0 on, and what they are to be multiplied by.
static __attribute__((noinline)) void softmax(float* s, float* inverse, long q0, float factor, const float* mask, long row, long queries, long keys, long left, long right) {
  for (long c = 0; c < queries; c += 16) {
    float* const column = s + c;
    // Keys that any of these queries sees, and inside those that all of them see.
    const long low = bounded(larger(0, q0 + c - left) - 0, 0, keys);
    const long high = bounded(smaller(keys, q0 + c + 15 + right + 1) - 0, low, keys);
    const long all_low = bounded(larger(0, q0 + c + 15 - left) - 0, low, high);
    const long all_high = bounded(smaller(keys, q0 + c + right + 1) - 0, all_low, high);
    add_mask(column + low * row, mask, q0 + c, low, high - low, 16);
    vf32 top = splat((-__builtin_inff()));
    for (long key = low; key < all_low; ++key) {
      const vf32 x = select((iota_i32() < (int)(0 + key - (q0 + c) - right)) | (iota_i32() > (int)(0 + key - (q0 + c) + left)), splat((-__builtin_inff())), load(column + key * row));
      store(column + key * row, x);
      top = x > top ? x : top;
    }
    #pragma clang loop unroll_count(2)
    for (long key = all_low; key < all_high; ++key) {
      const vf32 x = load(column + key * row);
      top = x > top ? x : top;
    }
    for (long key = all_high; key < high; ++key) {
      const vf32 x = select((iota_i32() < (int)(0 + key - (q0 + c) - right)) | (iota_i32() > (int)(0 + key - (q0 + c) + left)), splat((-__builtin_inff())), load(column + key * row));
      store(column + key * row, x);
      top = x > top ? x : top;
    }
    const vf32 base = top == splat((-__builtin_inff())) ? vf32{} : top * factor;
    vf32 sum = {};
    #pragma clang loop unroll_count(2)
    for (long key = low; key < high; ++key) {
      const vf32 e = v_exp2(madd(load(column + key * row), splat(factor), -base));
      store(column + key * row, e);
      sum += e;
    }
    // Tiles of P V reach past the band.
    for (long key = larger(0, low - 12); key < low; ++key) store(column + key * row, vf32{});
    for (long key = high; key < high + 12; ++key) store(column + key * row, vf32{});
    store(inverse + c, sum == vf32{} ? vf32{} : 1 / sum);
  }
}

// 16 queries of one head, from q0 on.
static __attribute__((noinline)) void block(char* const* args, long b, long h, long q0, char* scratch) {
  const float* const a0 = (const float*)args[0];
  const float* const a1 = (const float*)args[1];
  const float* const a2 = (const float*)args[2];
  const float* const a3 = (const float*)args[3];
  float* const a4 = (float*)args[4];
  auto* const q = a0 + 0 + 0 + h * 256;
  auto* const k = a1 + 0 + 0 + h * 384;
  auto* const v = a2 + 0 + 0 + h * 384;
  auto* const y = a4 + 0 + 0 + h * 256;
  // The rows of the next head are fetched on the way.
  const long after = b * 2 + h + 1 < 2 ? b * 2 + h + 1 : 1, next_b = after / 2, next_h = after % 2;
  auto* const next_q = a0 + 0 + 0 + next_h * 256;
  auto* const next_k = a1 + 0 + 0 + next_h * 384;
  auto* const next_v = a2 + 0 + 0 + next_h * 384;
  float* const s = (float*)(scratch + 1280);
  float* const inverse = (float*)(scratch + 5248);
  pack_squares_f32(q + q0 * 16, 16, 16, 16, (float*)(scratch + 192), 16, 0);
  // S^T = K Q^T
  for (long i = 0; i < 24; i += 12) {
    fetch_rows(next_k + i * 16, 64, 12, 64);
    fetch_rows(next_v + i * 16, 64, 12, 64);
    const long last = i + 11;
    const long end = (smaller(16, smaller(16, last + 8) - q0) + 15) / 16 * 16;
    long j = larger(0, larger(0, i - 0) - q0) / 16 * 16;
    for (; j + 16 <= end; j += 16) {
      tile0(k + i * 16, (float*)(scratch + 192) + j, s + i * 16 + j, 16, 1);
    }
  }
  softmax(s, inverse, q0, 1.442695f, a3 + 0 + 0 + 0, 16, 16, 24, 7, 0);
  // O = P V
  for (long i = 0; i < 16; i += 8) {
    fetch_rows(next_q + i * 16, 64, 8, 64);
    const long last = i + 7;
    const long from = larger(0, q0 + i - 7), to = smaller(24, q0 + last + 1);
    for (long j = 0; j < 16; j += 16) {
      tile1(s + i * 1 + from * 16, v + j + from * 16, (float*)(scratch + 3648) + i * 16 + j, to - from, 1);
    }
  }
  store_rows((float*)(scratch + 3648), inverse, y + q0 * 16, 16, 16, 16);
}

extern "C" void attention(char* const* args, long begin, long end, char* scratch) {
  for (long task = begin; task < end; ++task) {
    const long q0 = task % 1 * 16, head = task / 1, h = head % 2, b = head / 2;
    block(args, b, h, q0, scratch);
  }
}
