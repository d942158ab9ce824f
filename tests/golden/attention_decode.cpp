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
      #pragma clang loop unroll(full)
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
