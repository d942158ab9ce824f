#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace athanor {

// Linked, position-independent machine code without external references: what the cache keeps and what a warm start loads
// without LLVM.
struct Image {
  std::vector<std::byte> code;                               // text and read-only data, laid out as they run
  std::map<std::string, int64_t> symbols;                    // offsets of functions in `code`
  bool operator==(const Image&) const = default;
};

std::vector<std::byte> Serialize(const Image& image);
// Throws Error on anything that Serialize did not write.
Image DeserializeImage(std::span<const std::byte> bytes);

class GdbRegistration;

// An Image mapped for execution: written while writable, then read + execute only (W^X). Known to gdb and perf by `name`.
class Module {
 public:
  Module(const Image& image, std::string name);
  ~Module();
  Module(const Module&) = delete;
  Module& operator=(const Module&) = delete;

  template <typename F>
  F* Get(std::string_view symbol) const { return reinterpret_cast<F*>(Find(symbol)); }

 private:
  void* Find(std::string_view symbol) const;                 // InternalError when absent
  std::string name_;
  std::byte* base_ = nullptr;
  int64_t bytes_ = 0;
  std::map<std::string, int64_t, std::less<>> symbols_;
  std::unique_ptr<GdbRegistration> registration_;
};

using KernelFn = void(char* const* args, long begin, long end, char* scratch);

}  // namespace athanor
