#include "jit/nvrtc_compiler.h"

#include <dlfcn.h>
#include <glob.h>

#include <filesystem>
#include <regex>
#include <sstream>

#include "ops/error.h"

namespace athanor {
namespace {

using Program = struct _nvrtcProgram*;                       // nvrtc.h is not needed for the dozen functions used
constexpr int kSuccess = 0, kErrorCompilation = 6;

std::vector<std::string> Glob(const std::string& pattern) {
  glob_t found{};
  std::vector<std::string> paths;
  if (glob(pattern.c_str(), 0, nullptr, &found) == 0) paths.assign(found.gl_pathv, found.gl_pathv + found.gl_pathc);
  globfree(&found);
  return paths;
}

// Where the library may be, best first.
std::vector<std::string> Candidates(const std::string& path) {
  if (path.empty()) return {"libnvrtc.so", "libnvrtc.so.13", "libnvrtc.so.12"};
  if (!std::filesystem::is_directory(path)) return {path};
  std::vector<std::string> all;
  for (const char* place : {"", "/lib", "/lib64", "/nvidia/*/lib", "/lib/python3*/site-packages/nvidia/*/lib"}) {
    for (const std::string& file : Glob(path + place + "/libnvrtc.so*")) all.push_back(file);
  }
  return all;
}

}  // namespace

struct NvrtcCompiler::Library {
  void* handle = nullptr;                                    // never closed: the library keeps threads of its own
  int (*version)(int*, int*) = nullptr;
  const char* (*error_string)(int) = nullptr;
  int (*create)(Program*, const char* text, const char* name, int headers, const char* const*, const char* const*) = nullptr;
  int (*destroy)(Program*) = nullptr;
  int (*compile)(Program, int options, const char* const*) = nullptr;
  int (*log_size)(Program, size_t*) = nullptr;
  int (*log)(Program, char*) = nullptr;
  int (*cubin_size)(Program, size_t*) = nullptr;
  int (*cubin)(Program, char*) = nullptr;
  int (*ptx_size)(Program, size_t*) = nullptr;
  int (*ptx)(Program, char*) = nullptr;

  void Open(const std::string& path) {
    std::string reason = "no such library there";
    for (const std::string& candidate : Candidates(path)) {
      handle = dlopen(candidate.c_str(), RTLD_NOW | RTLD_LOCAL);
      if (handle != nullptr) break;
      reason = dlerror();
    }
    if (handle == nullptr) {
      Fail("NVRTC, which compiles for CUDA, can't be loaded from {}: {} (it comes with the CUDA toolkit or the Python package nvidia-cuda-nvrtc)",
           path.empty() ? "the library path" : "'" + path + "'", reason);
    }
    Find("nvrtcVersion", &version);
    Find("nvrtcGetErrorString", &error_string);
    Find("nvrtcCreateProgram", &create);
    Find("nvrtcDestroyProgram", &destroy);
    Find("nvrtcCompileProgram", &compile);
    Find("nvrtcGetProgramLogSize", &log_size);
    Find("nvrtcGetProgramLog", &log);
    Find("nvrtcGetCUBINSize", &cubin_size);
    Find("nvrtcGetCUBIN", &cubin);
    Find("nvrtcGetPTXSize", &ptx_size);
    Find("nvrtcGetPTX", &ptx);
  }

  template <typename F>
  void Find(const char* name, F* function) {
    *function = reinterpret_cast<F>(dlsym(handle, name));
    if (*function == nullptr) Fail("the NVRTC library has no function {}: it is too old or no NVRTC", name);
  }

  void Check(int result, std::string_view what) const {
    if (result != kSuccess) throw InternalError(fmt::format("NVRTC: {}: {}", what, error_string(result)));
  }

  template <typename Container>
  Container Text(Program program, int (*size)(Program, size_t*), int (*get)(Program, char*), std::string_view what) const {
    size_t bytes = 0;
    Check(size(program, &bytes), what);
    Container text(bytes, typename Container::value_type{});
    Check(get(program, reinterpret_cast<char*>(text.data())), what);
    return text;
  }
};

NvrtcCompiler::NvrtcCompiler(const std::string& path) : library_(std::make_unique<Library>()) { library_->Open(path); }
NvrtcCompiler::~NvrtcCompiler() = default;

std::string NvrtcCompiler::identity() const {
  int major = 0, minor = 0;
  library_->Check(library_->version(&major, &minor), "version");
  return fmt::format("nvrtc {}.{}", major, minor);
}

CudaImage NvrtcCompiler::Compile(const std::string& text, std::string_view name, std::string_view architecture) const {
  const Library& nvrtc = *library_;
  Program created = nullptr;
  nvrtc.Check(nvrtc.create(&created, text.c_str(), fmt::format("{}.cu", name).c_str(), 0, nullptr, nullptr), "create program");
  const auto destroy = [&](Program program) { nvrtc.destroy(&program); };
  const std::unique_ptr<struct _nvrtcProgram, decltype(destroy)> program(created, destroy);
  const std::string target = fmt::format("--gpu-architecture={}", architecture);
  const char* options[] = {target.c_str(), "--std=c++17", "--ptxas-options=-v"};
  const int result = nvrtc.compile(created, static_cast<int>(std::size(options)), options);
  auto log = nvrtc.Text<std::string>(created, nvrtc.log_size, nvrtc.log, "log");
  if (result == kErrorCompilation) throw InternalError(fmt::format("generated source of kernel {} does not compile:\n{}", name, log.c_str()));
  nvrtc.Check(result, "compile");
  CudaImage image;
  image.cubin = nvrtc.Text<std::vector<std::byte>>(created, nvrtc.cubin_size, nvrtc.cubin, "cubin");
  image.ptx = nvrtc.Text<std::string>(created, nvrtc.ptx_size, nvrtc.ptx, "PTX").c_str();  // without the final zero
  image.kernels = ParsePtxasLog(log);
  return image;
}

std::map<std::string, CudaImage::Resources> ParsePtxasLog(std::string_view log) {
  static const std::regex entry("Compiling entry function '([^']+)'"), function("Function properties for (\\S+)"),
      stack("(\\d+) bytes stack frame, (\\d+) bytes spill stores, (\\d+) bytes spill loads"), registers("Used (\\d+) registers"),
      shared("(\\d+) bytes smem");
  std::map<std::string, CudaImage::Resources> kernels;
  std::string kernel, properties;                            // whose lines these are; device functions are left out
  std::istringstream lines{std::string(log)};
  std::smatch match;
  for (std::string line; std::getline(lines, line);) {
    if (std::regex_search(line, match, entry)) kernels[kernel = match[1]] = {};
    if (kernel.empty()) continue;
    if (std::regex_search(line, match, function)) properties = match[1];
    CudaImage::Resources& of = kernels[kernel];
    if (properties == kernel && std::regex_search(line, match, stack)) {
      of.stack_bytes = std::stoi(match[1]);
      of.spill_bytes = std::stoi(match[2]) + std::stoi(match[3]);
    }
    if (std::regex_search(line, match, registers)) of.registers = std::stoi(match[1]);
    if (std::regex_search(line, match, shared)) of.shared_bytes = std::stoi(match[1]);
  }
  return kernels;
}

}  // namespace athanor
