#pragma once

#include <cstddef>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace athanor {

// CUDA machine code of one source, and what ptxas says each kernel needs.
struct CudaImage {
  struct Resources {
    int registers = 0;                                       // of a thread
    int stack_bytes = 0;                                     // local memory of a thread, spills included
    int spill_bytes = 0;                                     // stored and loaded
    int shared_bytes = 0;                                    // of a block, static
    bool operator==(const Resources&) const = default;
  };
  std::vector<std::byte> cubin;
  std::string ptx;
  std::map<std::string, Resources> kernels;                  // by symbol
};

// Compiles CUDA text with NVRTC, NVIDIA's run-time compiler, a library that is loaded when it is first needed: no GPU, driver or
// toolkit is required to build or to compile. Thread-safe.
class NvrtcCompiler {
 public:
  static constexpr std::string_view kHopper = "sm_90a";      // not sm_90, which lacks wgmma and setmaxnreg

  // `path` is the library, a folder that holds it, or a Python environment with the package nvidia-cuda-nvrtc; when empty, the
  // system's library path is searched. Throws Error when it is not found.
  explicit NvrtcCompiler(const std::string& path = "");
  ~NvrtcCompiler();

  std::string identity() const;                              // "nvrtc 13.0", for the cache's key
  // Throws InternalError with the compiler's messages: generated source that does not compile is our bug.
  CudaImage Compile(const std::string& text, std::string_view name, std::string_view architecture = kHopper) const;

 private:
  struct Library;
  std::unique_ptr<Library> library_;
};

// Reads the messages of `ptxas -v`.
std::map<std::string, CudaImage::Resources> ParsePtxasLog(std::string_view log);

}  // namespace athanor
