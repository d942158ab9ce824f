// contract: _contract _contract%8
// schedule: contract mr=8 nv=3 mc=16 nc=48 kc=80 pack_a=none pack_b=task k_split=1 unroll=4 maker=cpp pairs=0
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
INLINE vf32 load_second(const float* p) { return __builtin_shufflevector(load(p), load(p + 16 - 1), 0, 2, 4, 6, 8, 10, 12, 14, 17, 19, 21, 23, 25, 27, 29, 31); }
INLINE vf32 load_second_tail(const float* p, long n) {
  return __builtin_shufflevector(load_tail(p, smaller(2 * n - 1, 16)), load_tail(p + 16 - 1, larger(2 * n - 16, 0)), 0, 2, 4, 6, 8, 10, 12, 14, 17, 19, 21, 23, 25, 27, 29, 31);
}
INLINE vf32 load_window_strided(const float* p, long stride, long first, long last, vf32 fill) {
  if (stride == 2) {
    const vf32 low = load_window(p, 2 * first, 2 * last - 1, fill), high = load_window(p + 16, 2 * first - 16, 2 * last - 1 - 16, fill);
    return __builtin_shufflevector(low, high, 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
  }
  for (long i = larger(first, 0); i < smaller(last, 16); ++i) fill[i] = p[i * stride];
  return fill;
}
#define ROUTINE static __attribute__((noinline))
ROUTINE void copy_rows_f32(const float* from, long from_row, float* to, long to_row, long rows, long columns) {
  for (long i = 0; i < rows; ++i, from += from_row, to += to_row) {
    long j = 0;
    for (; j + 16 <= columns; j += 16) store(to + j, load(from + j));
    if (j < columns) store_tail(to + j, load(from + j), columns - j);
  }
}
// A run of pixels of 9 taps, for [begin, end) of channels x taps: `from` is the first tap's first pixel, c its
// coordinates in the tensor, `tap` to the next tap, `channel` leads to the next channel. `room`: how many pixels
// `to` has place for; zeros fill the last vector.
ROUTINE void copy_windows_3_3_f32(const float* from, long c0, long extent0, long c1, long extent1, long tap0, long tap1,
    long channel, long run, long begin, long end, float* to, long step, long room) {
  for (long part = 0; part < run; part += 16, from += 32, to += 16, room -= 16, c1 += 32) {
    const long live = run - part < 16 ? run - part : 16;
    for (long j1 = 0; j1 < 3; ++j1) {
      for (long j0 = 0; j0 < 3; ++j0) {
        long first = 0, last = live;
        const long at0 = c0 + j1;
        if ((unsigned long)at0 >= extent0) last = 0;
        const long at1 = c1 + j0;
        first = larger(first, (1 - at1) / 2), last = smaller(last, (extent1 - at1 + 1) / 2);
        const long tap = 0 + j0 + j1 * 3;
        const long j = larger(0, (begin - tap + 8) / 9), j_end = larger(0, (end - tap + 8) / 9);
        const float* x = from + 0 + j0 * tap0 + j1 * tap1 + j * channel;
        float* y = to + (tap + j * 9 - begin) * step;
        if (room >= 16) for (long n = j; n < j_end; ++n, x += channel, y += 9 * step) {
          store(y, load_window_strided(x, 2, first, last, vf32{}));
        }
        else for (long n = j; n < j_end; ++n, x += channel, y += 9 * step) {
          store_tail(y, load_window_strided(x, 2, first, last, vf32{}), room);
        }
      }
    }
  }
}

// Columns [n0, n1) of `rows` rows of C, stored as they are.
INLINE void epilogue(char* const* args, long b, long m0, long rows, long n0, long n1, const float* c) {
  float* const a0 = (float*)args[0];
  copy_rows_f32(c, 48, a0 + m0 * 196 + n0, 196, rows, n1 - n0);
}

// Steps [k0, k1) of columns [n0, n1) of B in panels of 48 columns.
INLINE void pack_b(char* const* args, long b, long k0, long k1, long n0, long n1, float* to) {
  const float* const a1 = (const float*)args[1];
  for (long i = n0, run; i < n1; i += run) {
    const long i0 = i % 14;
    const long i1 = i / 14;
    const long room = 48 - (i - n0) % 48;
    run = n1 - i < 14 - i0 ? n1 - i : 14 - i0;
    if (run > room) run = room;
    copy_windows_3_3_f32(a1 + -29 + i0 * 2 + i1 * 56, -1 + i1 * 2, 28, -1 + i0 * 2, 28, 1, 28, 784, run, k0, k1, to + (i - n0) / 48 * 3472 + (i - n0) % 48, 48, room);
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
    { const vf32 x = splat(a[72]); c1_0 += x * b0; c1_1 += x * b1; c1_2 += x * b2; }
    { const vf32 x = splat(a[144]); c2_0 += x * b0; c2_1 += x * b1; c2_2 += x * b2; }
    { const vf32 x = splat(a[216]); c3_0 += x * b0; c3_1 += x * b1; c3_2 += x * b2; }
    { const vf32 x = splat(a[288]); c4_0 += x * b0; c4_1 += x * b1; c4_2 += x * b2; }
    { const vf32 x = splat(a[360]); c5_0 += x * b0; c5_1 += x * b1; c5_2 += x * b2; }
    { const vf32 x = splat(a[432]); c6_0 += x * b0; c6_1 += x * b1; c6_2 += x * b2; }
    { const vf32 x = splat(a[504]); c7_0 += x * b0; c7_1 += x * b1; c7_2 += x * b2; }
    a += 1;
    b += 48;
  }
  if (!first) {
    c0_0 = load(c + 0) + c0_0;
    c0_1 = load(c + 16) + c0_1;
    c0_2 = load(c + 32) + c0_2;
    c1_0 = load(c + 48) + c1_0;
    c1_1 = load(c + 64) + c1_1;
    c1_2 = load(c + 80) + c1_2;
    c2_0 = load(c + 96) + c2_0;
    c2_1 = load(c + 112) + c2_1;
    c2_2 = load(c + 128) + c2_2;
    c3_0 = load(c + 144) + c3_0;
    c3_1 = load(c + 160) + c3_1;
    c3_2 = load(c + 176) + c3_2;
    c4_0 = load(c + 192) + c4_0;
    c4_1 = load(c + 208) + c4_1;
    c4_2 = load(c + 224) + c4_2;
    c5_0 = load(c + 240) + c5_0;
    c5_1 = load(c + 256) + c5_1;
    c5_2 = load(c + 272) + c5_2;
    c6_0 = load(c + 288) + c6_0;
    c6_1 = load(c + 304) + c6_1;
    c6_2 = load(c + 320) + c6_2;
    c7_0 = load(c + 336) + c7_0;
    c7_1 = load(c + 352) + c7_1;
    c7_2 = load(c + 368) + c7_2;
  }
  store(c + 0, c0_0);
  store(c + 16, c0_1);
  store(c + 32, c0_2);
  store(c + 48, c1_0);
  store(c + 64, c1_1);
  store(c + 80, c1_2);
  store(c + 96, c2_0);
  store(c + 112, c2_1);
  store(c + 128, c2_2);
  store(c + 144, c3_0);
  store(c + 160, c3_1);
  store(c + 176, c3_2);
  store(c + 192, c4_0);
  store(c + 208, c4_1);
  store(c + 224, c4_2);
  store(c + 240, c5_0);
  store(c + 256, c5_1);
  store(c + 272, c5_2);
  store(c + 288, c6_0);
  store(c + 304, c6_1);
  store(c + 320, c6_2);
  store(c + 336, c7_0);
  store(c + 352, c7_1);
  store(c + 368, c7_2);
}

// 8 rows by 1 vectors
static __attribute__((noinline)) void tile_n(const float* a, const float* b, float* c, long k, long first) {
  vf32 c0_0 = {};
  vf32 c1_0 = {};
  vf32 c2_0 = {};
  vf32 c3_0 = {};
  vf32 c4_0 = {};
  vf32 c5_0 = {};
  vf32 c6_0 = {};
  vf32 c7_0 = {};
  #pragma clang loop unroll_count(4)
  for (long p = 0; p < k; ++p) {
    const vf32 b0 = load(b + 0);
    { const vf32 x = splat(a[0]); c0_0 += x * b0; }
    { const vf32 x = splat(a[72]); c1_0 += x * b0; }
    { const vf32 x = splat(a[144]); c2_0 += x * b0; }
    { const vf32 x = splat(a[216]); c3_0 += x * b0; }
    { const vf32 x = splat(a[288]); c4_0 += x * b0; }
    { const vf32 x = splat(a[360]); c5_0 += x * b0; }
    { const vf32 x = splat(a[432]); c6_0 += x * b0; }
    { const vf32 x = splat(a[504]); c7_0 += x * b0; }
    a += 1;
    b += 48;
  }
  if (!first) {
    c0_0 = load(c + 0) + c0_0;
    c1_0 = load(c + 48) + c1_0;
    c2_0 = load(c + 96) + c2_0;
    c3_0 = load(c + 144) + c3_0;
    c4_0 = load(c + 192) + c4_0;
    c5_0 = load(c + 240) + c5_0;
    c6_0 = load(c + 288) + c6_0;
    c7_0 = load(c + 336) + c7_0;
  }
  store(c + 0, c0_0);
  store(c + 48, c1_0);
  store(c + 96, c2_0);
  store(c + 144, c3_0);
  store(c + 192, c4_0);
  store(c + 240, c5_0);
  store(c + 288, c6_0);
  store(c + 336, c7_0);
}

extern "C" void tiles(char* const* args, long begin, long end, char* scratch) {
  const float* const a2 = (const float*)args[2];
  long packed = -1;
  for (long task = begin; task < end; ++task) {
    const long block = task / 1;
    const long m0 = 0, m1 = 16;
    const long c0 = block % 5 * 48, c1 = c0 + 48 < 196 ? c0 + 48 : 196;
    const long b = 0;
    const long k_begin = 0, k_end = 72;
    const long k0 = k_begin, k1 = k_end;
    const long n0 = c0, n1 = c1;
    // Tasks that follow each other often share their columns of B.
    if (packed != block) {
      pack_b(args, b, k0, k1, n0, n1, (float*)(scratch + 64));
      packed = block;
    }
    for (long m = m0; m < m1; m += 8) {
      const long rows = 8;
      const float* a = a2 + m * 72 + k0 * 1;
      for (long n = n0; n < n1; n += 48) {
        for (long i = 8; i < 16; ++i) {
          const float* next = a + i * 72 + (n - n0) / 48 * 80;
          for (long p = 0; p < 80; p += 16) __builtin_prefetch(next + p);
        }
        const float* bp = (float*)(scratch + 64) + (n - n0) / 48 * 3472;
        float* c = (float*)(scratch + 14016);
        if (n + 48 <= 196) tile(a, bp, c, k1 - k0, 1); else tile_n(a, bp, c, k1 - k0, 1);
        epilogue(args, b, m, rows, n, n + 48 < 196 ? n + 48 : 196, (float*)(scratch + 14016));
      }
    }
  }
}

