// reduce: test
// schedule: loop task=32768 unroll=1 streaming=0 row_chunks=8
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
INLINE vi32 splat(int x) { return x - vi32{}; }
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
// The sum of `parts` rows of `columns`, in order.
ROUTINE void add_parts_f32(const float* from, long parts, long stride, float* to, long columns) {
  for (long j = 0; j < columns; j += 16, from += 16, to += 16) {
    const long left = columns - j;
    vf32 sum = left >= 16 ? load(from) : load_tail(from, left);
    for (long p = 1; p < parts; ++p) sum += left >= 16 ? load(from + p * stride) : load_tail(from + p * stride, left);
    if (left >= 16) store(to, sum); else store_tail(to, sum, left);
  }
}

extern "C" void rows(char* const* args, long begin, long end, char* scratch) {
  const float* const a0 = (const float*)args[0];
  float* const a1 = (float*)args[1];
  float* const sums6 = (float*)args[3];
  float* const s3 = (float*)(scratch + 0);
  for (long task = begin; task < end; ++task) {
    const long row_begin = task * 128 / 8, row_end = (task + 1) * 128 / 8;
    float *const column6 = sums6 + task * 200;
    for (long j = 0; j < 200; ++j) column6[j] = 0;
    for (long i0 = row_begin; i0 < row_end; ++i0) {
      vf32 r1_0 = splat((-__builtin_inff()));
      vf32 r1_1 = splat((-__builtin_inff()));
      vf32 r1_2 = splat((-__builtin_inff()));
      vf32 r1_3 = splat((-__builtin_inff()));
      for (long i1 = 0; i1 < 192; i1 += 64) {
        const vf32 x0 = load(a0 + i0 * 200 + i1);
        r1_0 = vmax(r1_0, x0);
        const vf32 x0_1 = load(a0 + i0 * 200 + (i1 + 16));
        r1_1 = vmax(r1_1, x0_1);
        const vf32 x0_2 = load(a0 + i0 * 200 + (i1 + 32));
        r1_2 = vmax(r1_2, x0_2);
        const vf32 x0_3 = load(a0 + i0 * 200 + (i1 + 48));
        r1_3 = vmax(r1_3, x0_3);
      }
      {
        const vf32 x0_4 = load_tail(a0 + i0 * 200 + 192, 8);
        r1_0 = select(iota_i32() < 8, vmax(r1_0, x0_4), r1_0);
      }
      r1_0 = vmax(r1_0, r1_2);
      r1_1 = vmax(r1_1, r1_3);
      r1_0 = vmax(r1_0, r1_1);
      const float r1 = max(r1_0);
      vf32 r4_0 = splat(0.0f);
      vf32 r4_1 = splat(0.0f);
      vf32 r4_2 = splat(0.0f);
      vf32 r4_3 = splat(0.0f);
      for (long i1 = 0; i1 < 192; i1 += 64) {
        const vf32 x0_5 = load(a0 + i0 * 200 + i1);
        const vf32 x2 = x0_5 - r1;
        const vf32 x3 = v_exp2(x2 * 1.442695f);
        r4_0 = r4_0 + x3;
        store(s3 + i1, x3);
        const vf32 x0_6 = load(a0 + i0 * 200 + (i1 + 16));
        const vf32 x2_1 = x0_6 - r1;
        const vf32 x3_1 = v_exp2(x2_1 * 1.442695f);
        r4_1 = r4_1 + x3_1;
        store(s3 + (i1 + 16), x3_1);
        const vf32 x0_7 = load(a0 + i0 * 200 + (i1 + 32));
        const vf32 x2_2 = x0_7 - r1;
        const vf32 x3_2 = v_exp2(x2_2 * 1.442695f);
        r4_2 = r4_2 + x3_2;
        store(s3 + (i1 + 32), x3_2);
        const vf32 x0_8 = load(a0 + i0 * 200 + (i1 + 48));
        const vf32 x2_3 = x0_8 - r1;
        const vf32 x3_3 = v_exp2(x2_3 * 1.442695f);
        r4_3 = r4_3 + x3_3;
        store(s3 + (i1 + 48), x3_3);
      }
      {
        const vf32 x0_9 = load_tail(a0 + i0 * 200 + 192, 8);
        const vf32 x2_4 = x0_9 - r1;
        const vf32 x3_4 = v_exp2(x2_4 * 1.442695f);
        r4_0 = select(iota_i32() < 8, r4_0 + x3_4, r4_0);
        store(s3 + 192, x3_4);
      }
      r4_0 = r4_0 + r4_2;
      r4_1 = r4_1 + r4_3;
      r4_0 = r4_0 + r4_1;
      const float r4 = sum(r4_0);
      for (long i1 = 0; i1 < 192; i1 += 16) {
        const vf32 y3_0 = load(s3 + i1);
        const vf32 x5 = y3_0 / r4;
        store(a1 + i0 * 200 + i1, x5);
        store(column6 + i1, load(column6 + i1) + x5);
      }
      {
        const vf32 y3_0 = load(s3 + 192);
        const vf32 x5_1 = y3_0 / r4;
        store_tail(a1 + i0 * 200 + 192, x5_1, 8);
        store_tail(column6 + 192, load_tail(column6 + 192, 8) + x5_1, 8);
      }
    }
  }
}

extern "C" void combine(char* const* args, long begin, long end, char*) {
  float* const a2 = (float*)args[2];
  float* const sums6 = (float*)args[3];
  for (long task = begin; task < end; ++task) {
    const long from = task * 256, to = from + 256 < 200 ? from + 256 : 200;
    add_parts_f32(sums6 + from, 8, 200, a2 + 0 + from, to - from);
  }
}
