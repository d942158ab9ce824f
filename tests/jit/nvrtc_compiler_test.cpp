#include "jit/nvrtc_compiler.h"

#include <gtest/gtest.h>

#include <cstring>

#include "ops/error.h"
#include "tests/jit/nvrtc.h"

namespace athanor::testing {
namespace {

constexpr char kScale[] = R"(
extern "C" __global__ void __launch_bounds__(256) scale(float* x, float factor, int n) {
  __shared__ float copy[256];
  for (int i = blockIdx.x * 256 + threadIdx.x; i < n; i += gridDim.x * 256) {
    copy[threadIdx.x] = x[i];
    __syncthreads();
    x[i] = expf(copy[threadIdx.x ^ 1]) * factor;
  }
}
)";

TEST(NvrtcCompiler, MakesACubinAndReportsResources) {
  const NvrtcCompiler* nvrtc = Nvrtc();
  if (nvrtc == nullptr) GTEST_SKIP() << "no NVRTC here";
  EXPECT_TRUE(nvrtc->identity().starts_with("nvrtc "));
  const CudaImage image = nvrtc->Compile(kScale, "scale");
  ASSERT_GT(image.cubin.size(), 1000u);
  EXPECT_EQ(std::memcmp(image.cubin.data(), "\177ELF", 4), 0);
  EXPECT_NE(image.ptx.find(".target sm_90a"), std::string::npos);
  EXPECT_NE(image.ptx.find(".entry scale"), std::string::npos);
  ASSERT_EQ(image.kernels.size(), 1u);
  const CudaImage::Resources& resources = image.kernels.at("scale");
  EXPECT_GT(resources.registers, 4);
  EXPECT_LT(resources.registers, 64);
  EXPECT_EQ(resources.spill_bytes, 0);
  EXPECT_EQ(resources.shared_bytes, 1024);
}

TEST(NvrtcCompiler, NamesWhatDoesNotCompile) {
  const NvrtcCompiler* nvrtc = Nvrtc();
  if (nvrtc == nullptr) GTEST_SKIP() << "no NVRTC here";
  try {
    nvrtc->Compile("__global__ void f() { undeclared = 1; }", "broken_kernel");
    FAIL() << "accepted";
  } catch (const InternalError& error) {
    EXPECT_NE(std::string(error.what()).find("undeclared"), std::string::npos) << error.what();
    EXPECT_NE(std::string(error.what()).find("broken_kernel"), std::string::npos) << error.what();
  }
}

TEST(NvrtcCompiler, AMissingLibraryIsAnError) {
  for (const char* path : {"/nonexistent/libnvrtc.so", "/usr/include"}) {
    try {
      NvrtcCompiler nvrtc(path);
      FAIL() << "loaded " << path;
    } catch (const Error& error) {
      EXPECT_NE(std::string(error.what()).find(path), std::string::npos) << error.what();
      EXPECT_NE(std::string(error.what()).find("nvidia-cuda-nvrtc"), std::string::npos) << error.what();
    }
  }
}

TEST(NvrtcCompiler, ReadsPtxasMessages) {
  const auto kernels = ParsePtxasLog(
      "ptxas info    : 8 bytes gmem\n"
      "ptxas info    : Compiling entry function 'rows' for 'sm_90a'\n"
      "ptxas info    : Function properties for rows\n"
      "    40 bytes stack frame, 16 bytes spill stores, 24 bytes spill loads\n"
      "ptxas info    : Function properties for __internal_helper\n"
      "    8 bytes stack frame, 4 bytes spill stores, 4 bytes spill loads\n"
      "ptxas info    : Used 32 registers, used 1 barriers, 4096 bytes smem\n"
      "ptxas info    : Compiling entry function 'combine' for 'sm_90a'\n"
      "ptxas info    : Function properties for combine\n"
      "    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads\n"
      "ptxas info    : Used 10 registers\n");
  ASSERT_EQ(kernels.size(), 2u);
  EXPECT_EQ(kernels.at("rows"), (CudaImage::Resources{.registers = 32, .stack_bytes = 40, .spill_bytes = 40, .shared_bytes = 4096}));
  EXPECT_EQ(kernels.at("combine"), (CudaImage::Resources{.registers = 10}));
}

}  // namespace
}  // namespace athanor::testing
