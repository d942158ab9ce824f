// contract: _contract _contract%3
// schedule: contract mr=6 nv=4 mc=24 nc=128 kc=64 pack_a=none pack_b=phase k_split=1 unroll=4 maker=cpp pairs=0
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
#define ROUTINE static __attribute__((noinline))
ROUTINE void copy_rows_f32(const float* from, long from_row, float* to, long to_row, long rows, long columns) {
  for (long i = 0; i < rows; ++i, from += from_row, to += to_row) {
    long j = 0;
    for (; j + 16 <= columns; j += 16) store(to + j, load(from + j));
    if (j < columns) store_tail(to + j, load(from + j), columns - j);
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

// Columns [n0, n1) of `rows` rows of C, stored as they are.
INLINE void epilogue(char* const* args, long b, long m0, long rows, long n0, long n1, const float* c) {
  float* const a0 = (float*)args[0];
  copy_rows_f32(c, 64, a0 + m0 * 100 + n0, 100, rows, n1 - n0);
}

// Steps [k0, k1) of columns [n0, n1) of B in panels of 64 columns.
INLINE void pack_b(char* const* args, long b, long k0, long k1, long n0, long n1, float* to) {
  const float* const a1 = (const float*)args[1];
  pack_squares_f32(a1 + k0 * 1 + n0 * 64, 64, n1 - n0, k1 - k0, to, 64, 4112);
}

extern "C" void pack(char* const* args, long begin, long end, char* scratch) {
  for (long task = begin; task < end; ++task) {
    const long rest = task;
    const long b = 0, chunk = rest;
    const long k0 = 0, k1 = 64;
    const long n0 = 0, n1 = 100;
    pack_b(args, b, k0, k1, n0, n1, (float*)args[3] + b * 8224 + n0 / 64 * 4112 + k0 * 64);
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
    { const vf32 x = splat(a[64]); c1_0 += x * b0; c1_1 += x * b1; c1_2 += x * b2; c1_3 += x * b3; }
    { const vf32 x = splat(a[128]); c2_0 += x * b0; c2_1 += x * b1; c2_2 += x * b2; c2_3 += x * b3; }
    { const vf32 x = splat(a[192]); c3_0 += x * b0; c3_1 += x * b1; c3_2 += x * b2; c3_3 += x * b3; }
    { const vf32 x = splat(a[256]); c4_0 += x * b0; c4_1 += x * b1; c4_2 += x * b2; c4_3 += x * b3; }
    { const vf32 x = splat(a[320]); c5_0 += x * b0; c5_1 += x * b1; c5_2 += x * b2; c5_3 += x * b3; }
    a += 1;
    b += 64;
  }
  if (!first) {
    c0_0 = load(c + 0) + c0_0;
    c0_1 = load(c + 16) + c0_1;
    c0_2 = load(c + 32) + c0_2;
    c0_3 = load(c + 48) + c0_3;
    c1_0 = load(c + 64) + c1_0;
    c1_1 = load(c + 80) + c1_1;
    c1_2 = load(c + 96) + c1_2;
    c1_3 = load(c + 112) + c1_3;
    c2_0 = load(c + 128) + c2_0;
    c2_1 = load(c + 144) + c2_1;
    c2_2 = load(c + 160) + c2_2;
    c2_3 = load(c + 176) + c2_3;
    c3_0 = load(c + 192) + c3_0;
    c3_1 = load(c + 208) + c3_1;
    c3_2 = load(c + 224) + c3_2;
    c3_3 = load(c + 240) + c3_3;
    c4_0 = load(c + 256) + c4_0;
    c4_1 = load(c + 272) + c4_1;
    c4_2 = load(c + 288) + c4_2;
    c4_3 = load(c + 304) + c4_3;
    c5_0 = load(c + 320) + c5_0;
    c5_1 = load(c + 336) + c5_1;
    c5_2 = load(c + 352) + c5_2;
    c5_3 = load(c + 368) + c5_3;
  }
  store(c + 0, c0_0);
  store(c + 16, c0_1);
  store(c + 32, c0_2);
  store(c + 48, c0_3);
  store(c + 64, c1_0);
  store(c + 80, c1_1);
  store(c + 96, c1_2);
  store(c + 112, c1_3);
  store(c + 128, c2_0);
  store(c + 144, c2_1);
  store(c + 160, c2_2);
  store(c + 176, c2_3);
  store(c + 192, c3_0);
  store(c + 208, c3_1);
  store(c + 224, c3_2);
  store(c + 240, c3_3);
  store(c + 256, c4_0);
  store(c + 272, c4_1);
  store(c + 288, c4_2);
  store(c + 304, c4_3);
  store(c + 320, c5_0);
  store(c + 336, c5_1);
  store(c + 352, c5_2);
  store(c + 368, c5_3);
}

// 6 rows by 3 vectors
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
    const vf32 b2 = load(b + 32);
    { const vf32 x = splat(a[0]); c0_0 += x * b0; c0_1 += x * b1; c0_2 += x * b2; }
    { const vf32 x = splat(a[64]); c1_0 += x * b0; c1_1 += x * b1; c1_2 += x * b2; }
    { const vf32 x = splat(a[128]); c2_0 += x * b0; c2_1 += x * b1; c2_2 += x * b2; }
    { const vf32 x = splat(a[192]); c3_0 += x * b0; c3_1 += x * b1; c3_2 += x * b2; }
    { const vf32 x = splat(a[256]); c4_0 += x * b0; c4_1 += x * b1; c4_2 += x * b2; }
    { const vf32 x = splat(a[320]); c5_0 += x * b0; c5_1 += x * b1; c5_2 += x * b2; }
    a += 1;
    b += 64;
  }
  if (!first) {
    c0_0 = load(c + 0) + c0_0;
    c0_1 = load(c + 16) + c0_1;
    c0_2 = load(c + 32) + c0_2;
    c1_0 = load(c + 64) + c1_0;
    c1_1 = load(c + 80) + c1_1;
    c1_2 = load(c + 96) + c1_2;
    c2_0 = load(c + 128) + c2_0;
    c2_1 = load(c + 144) + c2_1;
    c2_2 = load(c + 160) + c2_2;
    c3_0 = load(c + 192) + c3_0;
    c3_1 = load(c + 208) + c3_1;
    c3_2 = load(c + 224) + c3_2;
    c4_0 = load(c + 256) + c4_0;
    c4_1 = load(c + 272) + c4_1;
    c4_2 = load(c + 288) + c4_2;
    c5_0 = load(c + 320) + c5_0;
    c5_1 = load(c + 336) + c5_1;
    c5_2 = load(c + 352) + c5_2;
  }
  store(c + 0, c0_0);
  store(c + 16, c0_1);
  store(c + 32, c0_2);
  store(c + 64, c1_0);
  store(c + 80, c1_1);
  store(c + 96, c1_2);
  store(c + 128, c2_0);
  store(c + 144, c2_1);
  store(c + 160, c2_2);
  store(c + 192, c3_0);
  store(c + 208, c3_1);
  store(c + 224, c3_2);
  store(c + 256, c4_0);
  store(c + 272, c4_1);
  store(c + 288, c4_2);
  store(c + 320, c5_0);
  store(c + 336, c5_1);
  store(c + 352, c5_2);
}

extern "C" void tiles(char* const* args, long begin, long end, char* scratch) {
  const float* const a2 = (const float*)args[2];
  for (long task = begin; task < end; ++task) {
    const long block = task / 4;
    const long m0 = task % 4 * 24, m1 = m0 + 24 < 96 ? m0 + 24 : 96;
    const long c0 = 0, c1 = 100;
    const long b = 0;
    const long k_begin = 0, k_end = 64;
    const long k0 = k_begin, k1 = k_end;
    const long n0 = c0, n1 = c1;
    for (long m = m0; m < m1; m += 6) {
      const long rows = 6;
      const float* a = a2 + m * 64 + k0 * 1;
      for (long n = n0; n < n1; n += 64) {
        for (long i = 6; i < 12; ++i) {
          const float* next = a + i * 64 + (n - n0) / 64 * 32;
          for (long p = 0; p < 32; p += 16) __builtin_prefetch(next + p);
        }
        const float* bp = (float*)args[3] + b * 8224 + n / 64 * 4112 + k0 * 64;
        float* c = (float*)(scratch + 128);
        if (n + 64 <= 100) tile(a, bp, c, k1 - k0, 1); else tile_n(a, bp, c, k1 - k0, 1);
        epilogue(args, b, m, rows, n, n + 64 < 100 ? n + 64 : 100, (float*)(scratch + 128));
      }
    }
  }
}

