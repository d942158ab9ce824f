// reduce: test
// schedule: cuda threads=256 max_blocks=264 row_threads=32
// Neighbouring elements, moved in one piece.
template <typename T, int N>
struct alignas(sizeof(T) * N) Vec {
  T v[N];
};
// Over threads whose numbers differ in the bits from `low` below `high`: all of `threads`, of which each gets the same bits.
template <int low, int high, typename T>
__device__ inline T sum_across(unsigned threads, T x) {
#pragma unroll
  for (int mask = low; mask < high; mask *= 2) x += __shfl_xor_sync(threads, x, mask);
  return x;
}
struct Arguments {
  char* pointers[11];
};

extern "C" __global__ void __launch_bounds__(256) rows(const __grid_constant__ Arguments arguments) {
  const float* const a0 = (const float*)arguments.pointers[0];
  const float* const a1 = (const float*)arguments.pointers[1];
  const float* const a2 = (const float*)arguments.pointers[2];
  const float* const a3 = (const float*)arguments.pointers[3];
  float* const a4 = (float*)arguments.pointers[4];
  float* const a5 = (float*)arguments.pointers[5];
  float* const a6 = (float*)arguments.pointers[6];
  float* const a7 = (float*)arguments.pointers[7];
  float* const a8 = (float*)arguments.pointers[8];
  float* const sums28 = (float*)arguments.pointers[9];
  float* const sums29 = (float*)arguments.pointers[10];
  const int t = threadIdx.x % 32;  // among the 32 threads that work together
  const unsigned team = 0xffffffffu;
  Vec<float, 4> column28[3] = {};
  Vec<float, 4> column29[3] = {};
  for (int i0 = blockIdx.x * 8 + threadIdx.x / 32; i0 < 4096; i0 += 2112) {
    Vec<float, 4> s0[3];
    Vec<float, 4> s1[3];
    float r5 = 0.0f;
    float r18 = 0.0f;
    #pragma unroll
    for (int k = 0; k < 3; ++k) {
      const int i1 = (k * 32 + t) * 4;
      s0[k] = *(const Vec<float, 4>*)(a0 + i0 * 384 + i1);
      s1[k] = *(const Vec<float, 4>*)(a1 + i0 * 384 + i1);
      const Vec<float, 4> v2 = *(const Vec<float, 4>*)(a2 + i1);
      #pragma unroll
      for (int l = 0; l < 4; ++l) {
        const float x0 = s0[k].v[l];
        const float x1 = s1[k].v[l];
        const float x2 = v2.v[l];
        r5 = r5 + x0;
        const float x17 = x1 * x2;
        r18 = r18 + x17;
        column29[k].v[l] += x1;
      }
    }
    r5 = sum_across<1, 32>(team, r5);
    r18 = sum_across<1, 32>(team, r18);
    const float x6 = r5 * 0.0026041667f;
    if (t == 0) {
      *(a8 + i0) = x6;
    }
    float r9 = 0.0f;
    #pragma unroll
    for (int k = 0; k < 3; ++k) {
      const int i1 = (k * 32 + t) * 4;
      #pragma unroll
      for (int l = 0; l < 4; ++l) {
        const float x0_1 = s0[k].v[l];
        const float x7 = x0_1 - x6;
        const float x8 = x7 * x7;
        r9 = r9 + x8;
      }
    }
    r9 = sum_across<1, 32>(team, r9);
    const float x10 = r9 * 0.0026041667f;
    const float x12 = x10 + 0.1f;
    const float x13 = rsqrtf(x12);
    float r21 = 0.0f;
    #pragma unroll
    for (int k = 0; k < 3; ++k) {
      const int i1 = (k * 32 + t) * 4;
      const Vec<float, 4> v2 = *(const Vec<float, 4>*)(a2 + i1);
      const Vec<float, 4> v3 = *(const Vec<float, 4>*)(a3 + i1);
      Vec<float, 4> w0;
      #pragma unroll
      for (int l = 0; l < 4; ++l) {
        const float x2_1 = v2.v[l];
        const float x3 = v3.v[l];
        const float x0_2 = s0[k].v[l];
        const float x1_1 = s1[k].v[l];
        const float x17_1 = x1_1 * x2_1;
        const float x7_1 = x0_2 - x6;
        const float x14 = x7_1 * x13;
        const float x20 = x17_1 * x14;
        r21 = r21 + x20;
        const float x27 = x1_1 * x14;
        column28[k].v[l] += x27;
        const float x15 = x14 * x2_1;
        const float x16 = x15 + x3;
        w0.v[l] = x16;
      }
      *(Vec<float, 4>*)(a4 + i0 * 384 + i1) = w0;
    }
    r21 = sum_across<1, 32>(team, r21);
    const float x19 = r18 * 0.0026041667f;
    const float x22 = r21 * 0.0026041667f;
    #pragma unroll
    for (int k = 0; k < 3; ++k) {
      const int i1 = (k * 32 + t) * 4;
      const Vec<float, 4> v2 = *(const Vec<float, 4>*)(a2 + i1);
      Vec<float, 4> w1;
      #pragma unroll
      for (int l = 0; l < 4; ++l) {
        const float x2_2 = v2.v[l];
        const float x0_3 = s0[k].v[l];
        const float x1_2 = s1[k].v[l];
        const float x17_2 = x1_2 * x2_2;
        const float x24 = x17_2 - x19;
        const float x7_2 = x0_3 - x6;
        const float x14_1 = x7_2 * x13;
        const float x23 = x14_1 * x22;
        const float x25 = x24 - x23;
        const float x26 = x13 * x25;
        w1.v[l] = x26;
      }
      *(Vec<float, 4>*)(a5 + i0 * 384 + i1) = w1;
    }
  }
  __shared__ float block28[384];
  __shared__ float block29[384];
  for (int j = threadIdx.x; j < 384; j += 256) block28[j] = 0;
  for (int j = threadIdx.x; j < 384; j += 256) block29[j] = 0;
  __syncthreads();
  for (int w = 0; w < 8; ++w) {
    if (threadIdx.x / 32 == w) {
      #pragma unroll
      for (int k = 0; k < 3; ++k) {
        const int i1 = (k * 32 + t) * 4;
        for (int l = 0; l < 4; ++l) block28[i1 + l] += column28[k].v[l];
      }
      #pragma unroll
      for (int k = 0; k < 3; ++k) {
        const int i1 = (k * 32 + t) * 4;
        for (int l = 0; l < 4; ++l) block29[i1 + l] += column29[k].v[l];
      }
    }
    __syncthreads();
  }
  for (int j = threadIdx.x; j < 384; j += 256) sums28[blockIdx.x * 384L + j] = block28[j];
  for (int j = threadIdx.x; j < 384; j += 256) sums29[blockIdx.x * 384L + j] = block29[j];
}

extern "C" __global__ void __launch_bounds__(256) combine(const __grid_constant__ Arguments arguments) {
  const float* const a0 = (const float*)arguments.pointers[0];
  const float* const a1 = (const float*)arguments.pointers[1];
  const float* const a2 = (const float*)arguments.pointers[2];
  const float* const a3 = (const float*)arguments.pointers[3];
  float* const a4 = (float*)arguments.pointers[4];
  float* const a5 = (float*)arguments.pointers[5];
  float* const a6 = (float*)arguments.pointers[6];
  float* const a7 = (float*)arguments.pointers[7];
  float* const a8 = (float*)arguments.pointers[8];
  float* const sums28 = (float*)arguments.pointers[9];
  float* const sums29 = (float*)arguments.pointers[10];
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const int i1 = blockIdx.x * 32 + lane;
  __shared__ float warps28[256];
  float total28 = 0;
  if (i1 < 384) {
    for (int chunk = warp; chunk < 264; chunk += 8) total28 += sums28[chunk * 384L + i1];
  }
  warps28[threadIdx.x] = total28;
  __shared__ float warps29[256];
  float total29 = 0;
  if (i1 < 384) {
    for (int chunk = warp; chunk < 264; chunk += 8) total29 += sums29[chunk * 384L + i1];
  }
  warps29[threadIdx.x] = total29;
  __syncthreads();
  if (warp > 0) return;
  if (i1 < 384) {
    for (int w = 1; w < 8; ++w) total28 += warps28[w * 32 + lane];
    *(a6 + i1) = total28;
  }
  if (i1 < 384) {
    for (int w = 1; w < 8; ++w) total29 += warps29[w * 32 + lane];
    *(a7 + i1) = total29;
  }
}
