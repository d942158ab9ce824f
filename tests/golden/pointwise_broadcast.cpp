// pointwise: test
// schedule: loop task=32768 unroll=1 streaming=0 row_chunks=16
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
INLINE vf32 v_tanh(vf32 a) {
  vf32 x = 2.0f * __builtin_elementwise_abs(a);
  x = 19.0f < x ? splat(19.0f) : x;
  vf32 n = __builtin_elementwise_roundeven(x * 1.44269504f);
  vf32 r = madd(n, splat(-0.693359375f), x);
  r = madd(n, splat(2.12194440e-4f), r);
  vf32 q = splat(1.3814571e-3f);
  q = madd(q, r, splat(8.368731e-3f));
  q = madd(q, r, splat(4.1668389e-2f));
  q = madd(q, r, splat(1.6666521e-1f));
  q = madd(q, r, splat(4.9999994e-1f));
  vf32 power = scale(splat(1.0f), n);
  vf32 t = madd(power, madd(r * r, q, r), power - 1.0f);
  t = t / (t + 2.0f);
  return (vf32)((vi32)t | ((vi32)a & (int)0x80000000));
}

extern "C" void pointwise(char* const* args, long begin, long end, char*) {
  const float* const a0 = (const float*)args[0];
  const float* const a1 = (const float*)args[1];
  float* const a2 = (float*)args[2];
  for (long task = begin; task < end; ++task) {
    const long row_end = (task + 1) * 5 < 1 ? (task + 1) * 5 : 1;
    for (long row = task * 5; row < row_end; ++row) {
      for (long i0 = 0; i0 < 64; ++i0) {
        for (long i1 = 0; i1 < 96; i1 += 16) {
          const vf32 x0 = load(a0 + i0 * 100 + i1);
          const vf32 x1 = load(a1 + i1);
          const vf32 x2 = x0 + x1;
          const vf32 x3 = v_tanh(x2);
          store(a2 + i0 * 100 + i1, x3);
        }
        {
          const vf32 x0_1 = load_tail(a0 + i0 * 100 + 96, 4);
          const vf32 x1_1 = load_tail(a1 + 96, 4);
          const vf32 x2_1 = x0_1 + x1_1;
          const vf32 x3_1 = v_tanh(x2_1);
          store_tail(a2 + i0 * 100 + 96, x3_1, 4);
        }
      }
    }
  }
}
