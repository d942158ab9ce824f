// contract: _contract _contract%8
// schedule: winograd tile=4 mr=6 nv=4 mc=6 mb=6 kc=32 k_split=1 maker=cpp weights=phase streaming=0
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
typedef float f32_window __attribute__((vector_size(64), may_alias));
INLINE vf32 load_window(const float* p, long first, long last, vf32 fill) {
  const unsigned live = (1u << larger(smaller(last, 16), 0)) - (1u << smaller(larger(first, 0), 16));
  return first < last ? (vf32)__builtin_ia32_loadups512_mask((const float*)p, (f32_window)fill, (unsigned short)live) : fill;
}
INLINE void store_window(float* p, vf32 v, long first, long last) {
  const unsigned live = (1u << larger(smaller(last, 16), 0)) - (1u << smaller(larger(first, 0), 16));
  if (first < last) __builtin_ia32_storeups512_mask((float*)p, (f32_window)v, (unsigned short)live);
}
INLINE vi32 load(const int* p) { return *(const vi32_any*)p; }
// Every second element of two vectors one behind the other; the elements of two vectors in turns, first and last half.
INLINE vf32 even(vf32 a, vf32 b) { return __builtin_shufflevector(a, b, 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30); }
INLINE vf32 odd(vf32 a, vf32 b) { return __builtin_shufflevector(a, b, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31); }
INLINE vf32 zip_low(vf32 a, vf32 b) { return __builtin_shufflevector(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23); }
INLINE vf32 zip_high(vf32 a, vf32 b) { return __builtin_shufflevector(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31); }
// Lane i is lane[i] of x.
INLINE vf32 permute(vf32 x, vi32 lane) { return __builtin_ia32_permvarsf512(x, lane); }
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

// Columns [n0, n1) of `rows` rows of C, stored as they are.
INLINE void epilogue(char* const* args, long b, long m0, long rows, long n0, long n1, const float* c) {
  float* const a0 = (float*)args[0];
  copy_rows_f32(c, 1024, a0 + m0 * 1024 + n0, 1024, rows, n1 - n0);
}

// The weights of channels [c0, c1) of a row, 3 x 3 taps each, as 6 x 6 points.
ROUTINE void transform_taps(const float* from, long channels, long channel, long c0, long c1, float* to, long point) {
  for (long c = c0; c < c1; c += 16) {
    vf32 g0[16];
    #pragma clang loop unroll(full)
    for (long i = 0; i < 16; ++i) {
      const long first = 0, last = 9;
      g0[i] = load_window(from + (c + i < channels ? c + i : channels - 1) * channel + 0, first, last, vf32{});
    }
    transpose(g0);
    const vf32 tap0_0 = g0[0];
    const vf32 tap0_1 = g0[1];
    const vf32 tap0_2 = g0[2];
    const vf32 tap1_0 = g0[3];
    const vf32 tap1_1 = g0[4];
    const vf32 tap1_2 = g0[5];
    const vf32 tap2_0 = g0[6];
    const vf32 tap2_1 = g0[7];
    const vf32 tap2_2 = g0[8];
    float* const row0 = to + (c - c0);
    float* const row1 = row0 + 6 * point;
    float* const row2 = row1 + 6 * point;
    float* const row3 = row2 + 6 * point;
    float* const row4 = row3 + 6 * point;
    float* const row5 = row4 + 6 * point;
    const vf32 h0_0 = 0.96946746f * tap0_0;
    const vf32 h0_1_same = -0.5688889f * tap0_0 - 0.22222222f * tap2_0, h0_1_other = -0.35555556f * tap1_0, h0_1 = h0_1_same + h0_1_other, h0_2 = h0_1_same - h0_1_other;
    const vf32 h0_3_same = 0.084155165f * tap0_0 + 0.22222222f * tap2_0, h0_3_other = 0.13675214f * tap1_0, h0_3 = h0_3_same + h0_3_other, h0_4 = h0_3_same - h0_3_other;
    const vf32 h0_5 = tap2_0;
    const vf32 h1_0 = 0.96946746f * tap0_1;
    const vf32 h1_1_same = -0.5688889f * tap0_1 - 0.22222222f * tap2_1, h1_1_other = -0.35555556f * tap1_1, h1_1 = h1_1_same + h1_1_other, h1_2 = h1_1_same - h1_1_other;
    const vf32 h1_3_same = 0.084155165f * tap0_1 + 0.22222222f * tap2_1, h1_3_other = 0.13675214f * tap1_1, h1_3 = h1_3_same + h1_3_other, h1_4 = h1_3_same - h1_3_other;
    const vf32 h1_5 = tap2_1;
    const vf32 h2_0 = 0.96946746f * tap0_2;
    const vf32 h2_1_same = -0.5688889f * tap0_2 - 0.22222222f * tap2_2, h2_1_other = -0.35555556f * tap1_2, h2_1 = h2_1_same + h2_1_other, h2_2 = h2_1_same - h2_1_other;
    const vf32 h2_3_same = 0.084155165f * tap0_2 + 0.22222222f * tap2_2, h2_3_other = 0.13675214f * tap1_2, h2_3 = h2_3_same + h2_3_other, h2_4 = h2_3_same - h2_3_other;
    const vf32 h2_5 = tap2_2;
    const vf32 z0_0 = 0.96946746f * h0_0;
    const vf32 z0_1_same = -0.5688889f * h0_0 - 0.22222222f * h2_0, z0_1_other = -0.35555556f * h1_0, z0_1 = z0_1_same + z0_1_other, z0_2 = z0_1_same - z0_1_other;
    const vf32 z0_3_same = 0.084155165f * h0_0 + 0.22222222f * h2_0, z0_3_other = 0.13675214f * h1_0, z0_3 = z0_3_same + z0_3_other, z0_4 = z0_3_same - z0_3_other;
    const vf32 z0_5 = h2_0;
    store(row0 + 0 * point, z0_0);
    store(row0 + 1 * point, z0_1);
    store(row0 + 2 * point, z0_2);
    store(row0 + 3 * point, z0_3);
    store(row0 + 4 * point, z0_4);
    store(row0 + 5 * point, z0_5);
    const vf32 z1_0 = 0.96946746f * h0_1;
    const vf32 z1_1_same = -0.5688889f * h0_1 - 0.22222222f * h2_1, z1_1_other = -0.35555556f * h1_1, z1_1 = z1_1_same + z1_1_other, z1_2 = z1_1_same - z1_1_other;
    const vf32 z1_3_same = 0.084155165f * h0_1 + 0.22222222f * h2_1, z1_3_other = 0.13675214f * h1_1, z1_3 = z1_3_same + z1_3_other, z1_4 = z1_3_same - z1_3_other;
    const vf32 z1_5 = h2_1;
    store(row1 + 0 * point, z1_0);
    store(row1 + 1 * point, z1_1);
    store(row1 + 2 * point, z1_2);
    store(row1 + 3 * point, z1_3);
    store(row1 + 4 * point, z1_4);
    store(row1 + 5 * point, z1_5);
    const vf32 z2_0 = 0.96946746f * h0_2;
    const vf32 z2_1_same = -0.5688889f * h0_2 - 0.22222222f * h2_2, z2_1_other = -0.35555556f * h1_2, z2_1 = z2_1_same + z2_1_other, z2_2 = z2_1_same - z2_1_other;
    const vf32 z2_3_same = 0.084155165f * h0_2 + 0.22222222f * h2_2, z2_3_other = 0.13675214f * h1_2, z2_3 = z2_3_same + z2_3_other, z2_4 = z2_3_same - z2_3_other;
    const vf32 z2_5 = h2_2;
    store(row2 + 0 * point, z2_0);
    store(row2 + 1 * point, z2_1);
    store(row2 + 2 * point, z2_2);
    store(row2 + 3 * point, z2_3);
    store(row2 + 4 * point, z2_4);
    store(row2 + 5 * point, z2_5);
    const vf32 z3_0 = 0.96946746f * h0_3;
    const vf32 z3_1_same = -0.5688889f * h0_3 - 0.22222222f * h2_3, z3_1_other = -0.35555556f * h1_3, z3_1 = z3_1_same + z3_1_other, z3_2 = z3_1_same - z3_1_other;
    const vf32 z3_3_same = 0.084155165f * h0_3 + 0.22222222f * h2_3, z3_3_other = 0.13675214f * h1_3, z3_3 = z3_3_same + z3_3_other, z3_4 = z3_3_same - z3_3_other;
    const vf32 z3_5 = h2_3;
    store(row3 + 0 * point, z3_0);
    store(row3 + 1 * point, z3_1);
    store(row3 + 2 * point, z3_2);
    store(row3 + 3 * point, z3_3);
    store(row3 + 4 * point, z3_4);
    store(row3 + 5 * point, z3_5);
    const vf32 z4_0 = 0.96946746f * h0_4;
    const vf32 z4_1_same = -0.5688889f * h0_4 - 0.22222222f * h2_4, z4_1_other = -0.35555556f * h1_4, z4_1 = z4_1_same + z4_1_other, z4_2 = z4_1_same - z4_1_other;
    const vf32 z4_3_same = 0.084155165f * h0_4 + 0.22222222f * h2_4, z4_3_other = 0.13675214f * h1_4, z4_3 = z4_3_same + z4_3_other, z4_4 = z4_3_same - z4_3_other;
    const vf32 z4_5 = h2_4;
    store(row4 + 0 * point, z4_0);
    store(row4 + 1 * point, z4_1);
    store(row4 + 2 * point, z4_2);
    store(row4 + 3 * point, z4_3);
    store(row4 + 4 * point, z4_4);
    store(row4 + 5 * point, z4_5);
    const vf32 z5_0 = 0.96946746f * h0_5;
    const vf32 z5_1_same = -0.5688889f * h0_5 - 0.22222222f * h2_5, z5_1_other = -0.35555556f * h1_5, z5_1 = z5_1_same + z5_1_other, z5_2 = z5_1_same - z5_1_other;
    const vf32 z5_3_same = 0.084155165f * h0_5 + 0.22222222f * h2_5, z5_3_other = 0.13675214f * h1_5, z5_3 = z5_3_same + z5_3_other, z5_4 = z5_3_same - z5_3_other;
    const vf32 z5_5 = h2_5;
    store(row5 + 0 * point, z5_0);
    store(row5 + 1 * point, z5_1);
    store(row5 + 2 * point, z5_2);
    store(row5 + 3 * point, z5_3);
    store(row5 + 4 * point, z5_4);
    store(row5 + 5 * point, z5_5);
  }
}

// The weights of rows [m0, m1) and channels [c0, c1).
INLINE void transform_weights(char* const* args, long m0, long m1, long c0, long c1, float* to) {
  const float* const a2 = (const float*)args[2];
  for (long m = m0; m < m1; ++m, to += 32) {
    transform_taps(a2 + m * 288, 32, 9, c0, c1, to, 1040);
  }
}

// Windows of 6 x 6 pixels as 6 x 6 points. A run of tiles is its pixel, where that lies from left and top, and
// how many.
ROUTINE void transform_windows_6_4_f32(const float* image, long channels, long channel, long pixels, long width, long height, const long (*runs)[4], long count, float* lines, long line, int (*lane)[16], long* kept, float* to, long row, long point) {
  long places = 0;
  for (long r = 0; r < count; ++r, places += 1) {
    for (long t = 0; t < runs[r][3]; ++t, ++places) {
      lane[places / 16][kept[places / 16]++] = places % 16;
    }
  }
  places -= 1;
  for (long c = 0; c < channels; ++c, image += channel, to += row) {
    float* at = lines;
    for (long r = 0; r < count; ++r) {
      const float* const from = image + runs[r][0];
      const long left = runs[r][1], top = runs[r][2], run = runs[r][3];
      for (long q = 0; q < run * 4 + 2; q += 16) {
        const long first = -(left + q), last = width - (left + q);
        const vf32 d0 = (unsigned long)(top + 0) < (unsigned long)height ? load_window(from + 0 * pixels + q, first, last, vf32{}) : vf32{};
        const vf32 d1 = (unsigned long)(top + 1) < (unsigned long)height ? load_window(from + 1 * pixels + q, first, last, vf32{}) : vf32{};
        const vf32 d2 = (unsigned long)(top + 2) < (unsigned long)height ? load_window(from + 2 * pixels + q, first, last, vf32{}) : vf32{};
        const vf32 d3 = (unsigned long)(top + 3) < (unsigned long)height ? load_window(from + 3 * pixels + q, first, last, vf32{}) : vf32{};
        const vf32 d4 = (unsigned long)(top + 4) < (unsigned long)height ? load_window(from + 4 * pixels + q, first, last, vf32{}) : vf32{};
        const vf32 d5 = (unsigned long)(top + 5) < (unsigned long)height ? load_window(from + 5 * pixels + q, first, last, vf32{}) : vf32{};
        const vf32 t0 = 1.0314941f * d0 - 3.03125f * d2 + d4;
        const vf32 t1_same = -2.640625f * d2 + d4, t1_other = -1.6503906f * d1 + 0.625f * d3, t1 = t1_same + t1_other, t2 = t1_same - t1_other;
        const vf32 t3_same = -0.390625f * d2 + d4, t3_other = -0.6347656f * d1 + 1.625f * d3, t3 = t3_same + t3_other, t4 = t3_same - t3_other;
        const vf32 t5 = 1.0314941f * d1 - 3.03125f * d3 + d5;
        store(at + 0 * line + q, t0);
        store(at + 1 * line + q, t1);
        store(at + 2 * line + q, t2);
        store(at + 3 * line + q, t3);
        store(at + 4 * line + q, t4);
        store(at + 5 * line + q, t5);
      }
      at += (run + 1) * 4;
    }
    for (long i = 0; i < 6; ++i) {
      float* y = to + i * 6 * point;
      for (long t = 0; t * 16 < places; y += kept[t], ++t) {
        const float* const l = lines + i * line + t * 64;
        const vf32 l0_0 = load(l + 0), l0_1 = load(l + 16), l0_2 = load(l + 32), l0_3 = load(l + 48);
        const vf32 even0_0 = even(l0_0, l0_1), even0_1 = even(l0_2, l0_3);
        const vf32 odd0_0 = odd(l0_0, l0_1), odd0_1 = odd(l0_2, l0_3);
        const vf32 e0 = even(even0_0, even0_1);
        const vf32 e1 = even(odd0_0, odd0_1);
        const vf32 e2 = odd(even0_0, even0_1);
        const vf32 e3 = odd(odd0_0, odd0_1);
        const vf32 l1_0 = load(l + 4), l1_1 = load(l + 20), l1_2 = load(l + 36), l1_3 = load(l + 52);
        const vf32 even1_0 = even(l1_0, l1_1), even1_1 = even(l1_2, l1_3);
        const vf32 odd1_0 = odd(l1_0, l1_1), odd1_1 = odd(l1_2, l1_3);
        const vf32 e4 = even(even1_0, even1_1);
        const vf32 e5 = even(odd1_0, odd1_1);
        const vf32 r0 = 1.0314941f * e0 - 3.03125f * e2 + e4;
        const vf32 r1_same = -2.640625f * e2 + e4, r1_other = -1.6503906f * e1 + 0.625f * e3, r1 = r1_same + r1_other, r2 = r1_same - r1_other;
        const vf32 r3_same = -0.390625f * e2 + e4, r3_other = -0.6347656f * e1 + 1.625f * e3, r3 = r3_same + r3_other, r4 = r3_same - r3_other;
        const vf32 r5 = 1.0314941f * e1 - 3.03125f * e3 + e5;
        if (lane[t][kept[t] - 1] == kept[t] - 1) {
          store(y + 0 * point, r0);
          store(y + 1 * point, r1);
          store(y + 2 * point, r2);
          store(y + 3 * point, r3);
          store(y + 4 * point, r4);
          store(y + 5 * point, r5);
        } else {
          const vi32 lanes = load(lane[t]);
          store(y + 0 * point, permute(r0, lanes));
          store(y + 1 * point, permute(r1, lanes));
          store(y + 2 * point, permute(r2, lanes));
          store(y + 3 * point, permute(r3, lanes));
          store(y + 4 * point, permute(r4, lanes));
          store(y + 5 * point, permute(r5, lanes));
        }
      }
    }
  }
}

// The windows of tiles [p0, p1), 6 x 6 pixels each, as 6 x 6 points.
static __attribute__((noinline)) void transform_data(char* const* args, long c0, long c1, long p0, long p1, float* v) {
  const float* const a1 = (const float*)args[1];
  float lines[2112];
  int lane[5][16] = {};
  long kept[5] = {}, runs[9][4], count = 0;
  for (long p = p0; p < p1;) {
    const long tx = p % 8, ty = p / 8 % 8, image = p / 64;
    const long run = 8 - tx < p1 - p ? 8 - tx : p1 - p;
    const long left = tx * 4 + -1, top = ty * 4 + -1;
    runs[count][0] = 0 + image / 1 % 1 * 0 + top * 32 + left;
    runs[count][1] = left, runs[count][2] = top, runs[count][3] = run;
    ++count;
    p += run;
  }
  transform_windows_6_4_f32(a1 + c0 * 1024, c1 - c0, 1024, 32, 32, 32, runs, count, lines, 352, lane, kept, v, 64, 2064);
}

extern "C" void weights(char* const* args, long begin, long end, char* scratch) {
  transform_weights(args, begin, end, 0, 32, (float*)args[3] + begin * 32);
}

// Products at 6 x 6 points as 4 x 4 pixels, which lie side by side.
ROUTINE void transform_output(const float* from, long rows, long tiles, long point, float* to) {
  for (long i = 0; i < rows; ++i, from += tiles, to += 16 * tiles) {
    for (long p = 0; p < tiles; p += 16) {
      const float* x = from + p;
      const vf32 m0_0 = load(x + 0 * point);
      const vf32 m0_1 = load(x + 6 * point);
      const vf32 m0_2 = load(x + 12 * point);
      const vf32 m0_3 = load(x + 18 * point);
      const vf32 m0_4 = load(x + 24 * point);
      const vf32 m0_5 = load(x + 30 * point);
      x += point;
      const vf32 m0_1_sum = m0_1 + m0_2, m0_1_difference = m0_1 - m0_2;
      const vf32 m0_3_sum = m0_3 + m0_4, m0_3_difference = m0_3 - m0_4;
      const vf32 s0_0 = m0_0 + m0_1_sum + m0_3_sum;
      const vf32 s0_1 = 0.625f * m0_1_difference + 1.625f * m0_3_difference;
      const vf32 s0_2 = 0.390625f * m0_1_sum + 2.640625f * m0_3_sum;
      const vf32 s0_3 = 0.24414062f * m0_1_difference + 4.2910156f * m0_3_difference + m0_5;
      const vf32 m1_0 = load(x + 0 * point);
      const vf32 m1_1 = load(x + 6 * point);
      const vf32 m1_2 = load(x + 12 * point);
      const vf32 m1_3 = load(x + 18 * point);
      const vf32 m1_4 = load(x + 24 * point);
      const vf32 m1_5 = load(x + 30 * point);
      x += point;
      const vf32 m1_1_sum = m1_1 + m1_2, m1_1_difference = m1_1 - m1_2;
      const vf32 m1_3_sum = m1_3 + m1_4, m1_3_difference = m1_3 - m1_4;
      const vf32 s1_0 = m1_0 + m1_1_sum + m1_3_sum;
      const vf32 s1_1 = 0.625f * m1_1_difference + 1.625f * m1_3_difference;
      const vf32 s1_2 = 0.390625f * m1_1_sum + 2.640625f * m1_3_sum;
      const vf32 s1_3 = 0.24414062f * m1_1_difference + 4.2910156f * m1_3_difference + m1_5;
      const vf32 m2_0 = load(x + 0 * point);
      const vf32 m2_1 = load(x + 6 * point);
      const vf32 m2_2 = load(x + 12 * point);
      const vf32 m2_3 = load(x + 18 * point);
      const vf32 m2_4 = load(x + 24 * point);
      const vf32 m2_5 = load(x + 30 * point);
      x += point;
      const vf32 m2_1_sum = m2_1 + m2_2, m2_1_difference = m2_1 - m2_2;
      const vf32 m2_3_sum = m2_3 + m2_4, m2_3_difference = m2_3 - m2_4;
      const vf32 s2_0 = m2_0 + m2_1_sum + m2_3_sum;
      const vf32 s2_1 = 0.625f * m2_1_difference + 1.625f * m2_3_difference;
      const vf32 s2_2 = 0.390625f * m2_1_sum + 2.640625f * m2_3_sum;
      const vf32 s2_3 = 0.24414062f * m2_1_difference + 4.2910156f * m2_3_difference + m2_5;
      const vf32 m3_0 = load(x + 0 * point);
      const vf32 m3_1 = load(x + 6 * point);
      const vf32 m3_2 = load(x + 12 * point);
      const vf32 m3_3 = load(x + 18 * point);
      const vf32 m3_4 = load(x + 24 * point);
      const vf32 m3_5 = load(x + 30 * point);
      x += point;
      const vf32 m3_1_sum = m3_1 + m3_2, m3_1_difference = m3_1 - m3_2;
      const vf32 m3_3_sum = m3_3 + m3_4, m3_3_difference = m3_3 - m3_4;
      const vf32 s3_0 = m3_0 + m3_1_sum + m3_3_sum;
      const vf32 s3_1 = 0.625f * m3_1_difference + 1.625f * m3_3_difference;
      const vf32 s3_2 = 0.390625f * m3_1_sum + 2.640625f * m3_3_sum;
      const vf32 s3_3 = 0.24414062f * m3_1_difference + 4.2910156f * m3_3_difference + m3_5;
      const vf32 m4_0 = load(x + 0 * point);
      const vf32 m4_1 = load(x + 6 * point);
      const vf32 m4_2 = load(x + 12 * point);
      const vf32 m4_3 = load(x + 18 * point);
      const vf32 m4_4 = load(x + 24 * point);
      const vf32 m4_5 = load(x + 30 * point);
      x += point;
      const vf32 m4_1_sum = m4_1 + m4_2, m4_1_difference = m4_1 - m4_2;
      const vf32 m4_3_sum = m4_3 + m4_4, m4_3_difference = m4_3 - m4_4;
      const vf32 s4_0 = m4_0 + m4_1_sum + m4_3_sum;
      const vf32 s4_1 = 0.625f * m4_1_difference + 1.625f * m4_3_difference;
      const vf32 s4_2 = 0.390625f * m4_1_sum + 2.640625f * m4_3_sum;
      const vf32 s4_3 = 0.24414062f * m4_1_difference + 4.2910156f * m4_3_difference + m4_5;
      const vf32 m5_0 = load(x + 0 * point);
      const vf32 m5_1 = load(x + 6 * point);
      const vf32 m5_2 = load(x + 12 * point);
      const vf32 m5_3 = load(x + 18 * point);
      const vf32 m5_4 = load(x + 24 * point);
      const vf32 m5_5 = load(x + 30 * point);
      x += point;
      const vf32 m5_1_sum = m5_1 + m5_2, m5_1_difference = m5_1 - m5_2;
      const vf32 m5_3_sum = m5_3 + m5_4, m5_3_difference = m5_3 - m5_4;
      const vf32 s5_0 = m5_0 + m5_1_sum + m5_3_sum;
      const vf32 s5_1 = 0.625f * m5_1_difference + 1.625f * m5_3_difference;
      const vf32 s5_2 = 0.390625f * m5_1_sum + 2.640625f * m5_3_sum;
      const vf32 s5_3 = 0.24414062f * m5_1_difference + 4.2910156f * m5_3_difference + m5_5;
      const vf32 s1_0_sum = s1_0 + s2_0, s1_0_difference = s1_0 - s2_0;
      const vf32 s3_0_sum = s3_0 + s4_0, s3_0_difference = s3_0 - s4_0;
      const vf32 y0_0 = s0_0 + s1_0_sum + s3_0_sum;
      const vf32 y0_1 = 0.625f * s1_0_difference + 1.625f * s3_0_difference;
      const vf32 y0_2 = 0.390625f * s1_0_sum + 2.640625f * s3_0_sum;
      const vf32 y0_3 = 0.24414062f * s1_0_difference + 4.2910156f * s3_0_difference + s5_0;
      const vf32 a0 = zip_low(y0_0, y0_2), b0 = zip_low(y0_1, y0_3), c0 = zip_high(y0_0, y0_2), d0 = zip_high(y0_1, y0_3);
      store(to + 0 * tiles + p * 4, zip_low(a0, b0)), store(to + 0 * tiles + p * 4 + 16, zip_high(a0, b0));
      store(to + 0 * tiles + p * 4 + 32, zip_low(c0, d0)), store(to + 0 * tiles + p * 4 + 48, zip_high(c0, d0));
      const vf32 s1_1_sum = s1_1 + s2_1, s1_1_difference = s1_1 - s2_1;
      const vf32 s3_1_sum = s3_1 + s4_1, s3_1_difference = s3_1 - s4_1;
      const vf32 y1_0 = s0_1 + s1_1_sum + s3_1_sum;
      const vf32 y1_1 = 0.625f * s1_1_difference + 1.625f * s3_1_difference;
      const vf32 y1_2 = 0.390625f * s1_1_sum + 2.640625f * s3_1_sum;
      const vf32 y1_3 = 0.24414062f * s1_1_difference + 4.2910156f * s3_1_difference + s5_1;
      const vf32 a1 = zip_low(y1_0, y1_2), b1 = zip_low(y1_1, y1_3), c1 = zip_high(y1_0, y1_2), d1 = zip_high(y1_1, y1_3);
      store(to + 4 * tiles + p * 4, zip_low(a1, b1)), store(to + 4 * tiles + p * 4 + 16, zip_high(a1, b1));
      store(to + 4 * tiles + p * 4 + 32, zip_low(c1, d1)), store(to + 4 * tiles + p * 4 + 48, zip_high(c1, d1));
      const vf32 s1_2_sum = s1_2 + s2_2, s1_2_difference = s1_2 - s2_2;
      const vf32 s3_2_sum = s3_2 + s4_2, s3_2_difference = s3_2 - s4_2;
      const vf32 y2_0 = s0_2 + s1_2_sum + s3_2_sum;
      const vf32 y2_1 = 0.625f * s1_2_difference + 1.625f * s3_2_difference;
      const vf32 y2_2 = 0.390625f * s1_2_sum + 2.640625f * s3_2_sum;
      const vf32 y2_3 = 0.24414062f * s1_2_difference + 4.2910156f * s3_2_difference + s5_2;
      const vf32 a2 = zip_low(y2_0, y2_2), b2 = zip_low(y2_1, y2_3), c2 = zip_high(y2_0, y2_2), d2 = zip_high(y2_1, y2_3);
      store(to + 8 * tiles + p * 4, zip_low(a2, b2)), store(to + 8 * tiles + p * 4 + 16, zip_high(a2, b2));
      store(to + 8 * tiles + p * 4 + 32, zip_low(c2, d2)), store(to + 8 * tiles + p * 4 + 48, zip_high(c2, d2));
      const vf32 s1_3_sum = s1_3 + s2_3, s1_3_difference = s1_3 - s2_3;
      const vf32 s3_3_sum = s3_3 + s4_3, s3_3_difference = s3_3 - s4_3;
      const vf32 y3_0 = s0_3 + s1_3_sum + s3_3_sum;
      const vf32 y3_1 = 0.625f * s1_3_difference + 1.625f * s3_3_difference;
      const vf32 y3_2 = 0.390625f * s1_3_sum + 2.640625f * s3_3_sum;
      const vf32 y3_3 = 0.24414062f * s1_3_difference + 4.2910156f * s3_3_difference + s5_3;
      const vf32 a3 = zip_low(y3_0, y3_2), b3 = zip_low(y3_1, y3_3), c3 = zip_high(y3_0, y3_2), d3 = zip_high(y3_1, y3_3);
      store(to + 12 * tiles + p * 4, zip_low(a3, b3)), store(to + 12 * tiles + p * 4 + 16, zip_high(a3, b3));
      store(to + 12 * tiles + p * 4 + 32, zip_low(c3, d3)), store(to + 12 * tiles + p * 4 + 48, zip_high(c3, d3));
    }
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
    { const vf32 x = splat(a[32]); c1_0 += x * b0; c1_1 += x * b1; c1_2 += x * b2; c1_3 += x * b3; }
    { const vf32 x = splat(a[64]); c2_0 += x * b0; c2_1 += x * b1; c2_2 += x * b2; c2_3 += x * b3; }
    { const vf32 x = splat(a[96]); c3_0 += x * b0; c3_1 += x * b1; c3_2 += x * b2; c3_3 += x * b3; }
    { const vf32 x = splat(a[128]); c4_0 += x * b0; c4_1 += x * b1; c4_2 += x * b2; c4_3 += x * b3; }
    { const vf32 x = splat(a[160]); c5_0 += x * b0; c5_1 += x * b1; c5_2 += x * b2; c5_3 += x * b3; }
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

// 2 rows by 4 vectors
static __attribute__((noinline)) void tile_m(const float* a, const float* b, float* c, long k, long first) {
  vf32 c0_0 = {}, c0_1 = {}, c0_2 = {}, c0_3 = {};
  vf32 c1_0 = {}, c1_1 = {}, c1_2 = {}, c1_3 = {};
  #pragma clang loop unroll_count(4)
  for (long p = 0; p < k; ++p) {
    const vf32 b0 = load(b + 0);
    const vf32 b1 = load(b + 16);
    const vf32 b2 = load(b + 32);
    const vf32 b3 = load(b + 48);
    { const vf32 x = splat(a[0]); c0_0 += x * b0; c0_1 += x * b1; c0_2 += x * b2; c0_3 += x * b3; }
    { const vf32 x = splat(a[32]); c1_0 += x * b0; c1_1 += x * b1; c1_2 += x * b2; c1_3 += x * b3; }
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
  }
  store(c + 0, c0_0);
  store(c + 16, c0_1);
  store(c + 32, c0_2);
  store(c + 48, c0_3);
  store(c + 64, c1_0);
  store(c + 80, c1_1);
  store(c + 96, c1_2);
  store(c + 112, c1_3);
}

extern "C" void tiles(char* const* args, long begin, long end, char* scratch) {
  float* const products = (float*)(scratch + 297280);
  float* const pixels = (float*)(scratch + 354944);
  float* const v = (float*)(scratch + 0);
  long transformed = -1;
  for (long task = begin; task < end; ++task) {
    const long block = task / 6;
    const long m0 = task % 6 * 6, m1 = m0 + 6 < 32 ? m0 + 6 : 32;
    const long p0 = block * 64, p1 = p0 + 64 < 64 ? p0 + 64 : 64;
    if (transformed != block) transform_data(args, 0, 32, p0, p1, v);
    transformed = block;
    for (long m = m0; m < m1; m += 6) {
      const long rows = m + 6 < m1 ? 6 : m1 - m;
      const float* const w = (const float*)args[3] + m * 32;
      for (long point = 0; point < 36; ++point) {
        const float* a = w + point * 1040;
        const float* const b = v + point * 2064;
        float* c = products + point * 400;
        for (long i = 0; i < rows; i += 6, a += 192, c += 384) {
          for (long k = 0; k < 32; k += 32) {
            const long channels = k + 32 < 32 ? 32 : 32 - k;
            if (rows - i >= 6) tile(a + k, b + k * 64, c, channels, k == 0); else tile_m(a + k, b + k * 64, c, channels, k == 0);
          }
        }
      }
      transform_output(products, rows, 64, 400, pixels);
      for (long p = p0; p < p1;) {
        const long tx = p % 8, ty = p / 8 % 8, image = p / 64;
        const long run = 8 - tx < p1 - p ? 8 - tx : p1 - p;
        for (long i = 0; i < 4 && ty * 4 + i < 32; ++i) {
          const long n0 = (ty * 4 + i) * 32 + tx * 4;
          const long width = run * 4 < 32 - tx * 4 ? run * 4 : 32 - tx * 4;
          epilogue(args, image / 1, m, rows, n0, n0 + width, pixels + i * 256 + (p - p0) * 4);
        }
        p += run;
      }
    }
  }
}
