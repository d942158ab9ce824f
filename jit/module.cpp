#include "jit/module.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstring>
#include <utility>

#include "jit/gdb_registration.h"
#include "ops/error.h"

namespace athanor {
namespace {

constexpr char kMagic[8] = {'a', 't', 'h', 'i', 'm', 'g', '0', '1'};
constexpr uint64_t kMaxCode = 64 << 20, kMaxSymbols = 4096, kMaxName = 4096;

void Put(std::vector<std::byte>* out, const void* data, size_t bytes) {
  const auto* begin = static_cast<const std::byte*>(data);
  out->insert(out->end(), begin, begin + bytes);
}

void PutNumber(std::vector<std::byte>* out, uint64_t number) { Put(out, &number, sizeof number); }

class Reader {
 public:
  explicit Reader(std::span<const std::byte> bytes) : bytes_(bytes) {}
  std::span<const std::byte> Take(uint64_t count) {
    if (count > bytes_.size()) Fail("kernel image: {} bytes expected, {} left", count, bytes_.size());
    auto taken = bytes_.first(count);
    bytes_ = bytes_.subspan(count);
    return taken;
  }
  uint64_t Number(uint64_t limit) {
    uint64_t number;
    std::memcpy(&number, Take(sizeof number).data(), sizeof number);
    if (number > limit) Fail("kernel image: {} where at most {} is allowed", number, limit);
    return number;
  }
  bool empty() const { return bytes_.empty(); }

 private:
  std::span<const std::byte> bytes_;
};

}  // namespace

std::vector<std::byte> Serialize(const Image& image) {
  std::vector<std::byte> out;
  Put(&out, kMagic, sizeof kMagic);
  PutNumber(&out, image.code.size());
  Put(&out, image.code.data(), image.code.size());
  PutNumber(&out, image.symbols.size());
  for (const auto& [name, offset] : image.symbols) {
    PutNumber(&out, name.size());
    Put(&out, name.data(), name.size());
    PutNumber(&out, static_cast<uint64_t>(offset));
  }
  return out;
}

Image DeserializeImage(std::span<const std::byte> bytes) {
  Reader reader(bytes);
  if (std::memcmp(reader.Take(sizeof kMagic).data(), kMagic, sizeof kMagic) != 0) Fail("kernel image: unknown format");
  Image image;
  const auto code = reader.Take(reader.Number(kMaxCode));
  image.code.assign(code.begin(), code.end());
  const uint64_t count = reader.Number(kMaxSymbols);
  for (uint64_t i = 0; i < count; ++i) {
    const auto name = reader.Take(reader.Number(kMaxName));
    const uint64_t offset = reader.Number(kMaxCode);
    if (offset >= image.code.size()) Fail("kernel image: a symbol lies outside of the code");
    image.symbols.emplace_hint(image.symbols.end(), std::string(reinterpret_cast<const char*>(name.data()), name.size()), static_cast<int64_t>(offset));
  }
  if (!reader.empty() || image.symbols.size() != count) Fail("kernel image: trailing bytes or repeated symbols");
  return image;
}

Module::Module(const Image& image, std::string name) : name_(std::move(name)) {
  symbols_.insert(image.symbols.begin(), image.symbols.end());
  const int64_t page = sysconf(_SC_PAGESIZE);
  bytes_ = (static_cast<int64_t>(image.code.size()) + page - 1) / page * page;
  if (bytes_ == 0) return;
  void* mapped = mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapped == MAP_FAILED) Fail("kernel {}: no memory for {} bytes of code", name_, bytes_);
  base_ = static_cast<std::byte*>(mapped);
  std::memcpy(base_, image.code.data(), image.code.size());
  if (mprotect(base_, bytes_, PROT_READ | PROT_EXEC) != 0) {
    munmap(base_, bytes_);
    Fail("kernel {}: the system does not allow executable memory", name_);
  }
  registration_ = std::make_unique<GdbRegistration>(base_, image);
}

Module::~Module() {
  registration_.reset();
  if (base_ != nullptr) munmap(base_, bytes_);
}

void* Module::Find(std::string_view symbol) const {
  auto found = symbols_.find(symbol);
  if (found == symbols_.end()) throw InternalError(fmt::format("kernel {} has no function {}", name_, symbol));
  return base_ + found->second;
}

}  // namespace athanor
