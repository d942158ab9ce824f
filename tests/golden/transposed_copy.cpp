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
INLINE vf32 load(const float* p) { return *(const vf32_any*)p; }
INLINE void store(float* p, vf32 v) { *(vf32_any*)p = v; }
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

extern "C" void pointwise(char* const* args, long begin, long end, char*) {
  const float* const a0 = (const float*)args[0];
  float* const a1 = (float*)args[1];
  for (long task = begin; task < end; ++task) {
    const long row_end = (task + 1) * 2 < 8 ? (task + 1) * 2 : 8;
    for (long row = task * 2; row < row_end; ++row) {
      const long i0 = row;
      long i1 = 0;
      for (; i1 + 16 <= 256; i1 += 16) {
        for (long i2 = 0; i2 + 16 <= 64; i2 += 16) {
          vf32 t0[16];
          #pragma clang loop unroll(full)
          for (int k = 0; k < 16; ++k) {
            const vf32 x0 = load(a0 + i0 * 16384 + i1 + (i2 + k) * 256);
            t0[k] = x0;
          }
          transpose(t0);
          #pragma clang loop unroll(full)
          for (int k = 0; k < 16; ++k) {
            store(a1 + i0 * 16384 + (i1 + k) * 64 + i2, t0[k]);
          }
        }
      }
    }
  }
}
