#include "runtime/npy.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <array>
#include <bit>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <optional>

#include "ops/error.h"
#include "runtime/replace_file.h"
#include "runtime/strided_copy.h"

namespace athanor {
namespace {

static_assert(std::endian::native == std::endian::little, "elements are read and written as they lie");

constexpr std::string_view kMagic = "\x93NUMPY";
constexpr size_t kMaxHeaderBytes = 1 << 16;
constexpr size_t kMaxRank = 64;                              // NumPy's own limit
constexpr size_t kAlignment = 64;                            // of the first element

std::string_view Descr(DType dtype) {
  switch (dtype) {
    case DType::kF32: return "<f4";
    case DType::kF64: return "<f8";
    case DType::kI32: return "<i4";
    case DType::kI64: return "<i8";
    case DType::kU8: return "|u1";
    case DType::kBool: return "|b1";
    case DType::kBF16:
    case DType::kF16: return "<u2";
  }
  ATHANOR_CHECK(false);
}

struct Header {
  std::string descr;
  bool fortran_order = false;
  Shape shape;
};

// The header's text: a Python dictionary with exactly the keys 'descr', 'fortran_order' and 'shape'.
class HeaderParser {
 public:
  HeaderParser(const std::string& path, std::string_view text) : path_(path), text_(text) {}

  Header Parse() {
    Header header;
    std::array<bool, 3> seen = {};
    Expect('{');
    while (!Accept('}')) {
      const std::string key = String();
      Expect(':');
      const size_t which = key == "descr" ? 0 : key == "fortran_order" ? 1 : key == "shape" ? 2 : 3;
      if (which == 3 || seen[which]) Refuse(fmt::format("the key '{}' is unknown or stands twice", key));
      seen[which] = true;
      if (which == 0) header.descr = String();
      if (which == 1) header.fortran_order = Boolean();
      if (which == 2) header.shape = Tuple();
      if (!Accept(',')) {
        Expect('}');
        break;
      }
    }
    SkipSpace();
    if (at_ != text_.size()) Refuse("text follows the dictionary");
    if (!seen[0] || !seen[1] || !seen[2]) Refuse("'descr', 'fortran_order' or 'shape' is missing");
    return header;
  }

 private:
  [[noreturn]] void Refuse(std::string_view why) const { Fail("{}: .npy header, byte {}: {}", path_, at_, why); }

  void SkipSpace() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\n' || text_[at_] == '\t')) ++at_;
  }

  bool Accept(char wanted) {
    SkipSpace();
    if (at_ == text_.size() || text_[at_] != wanted) return false;
    ++at_;
    return true;
  }

  void Expect(char wanted) {
    if (!Accept(wanted)) Refuse(fmt::format("'{}' expected", wanted));
  }

  std::string String() {
    SkipSpace();
    const char quote = at_ < text_.size() ? text_[at_] : '\0';
    const size_t end = quote == '\'' || quote == '"' ? text_.find(quote, at_ + 1) : std::string_view::npos;
    if (end == std::string_view::npos) Refuse("a string expected");
    const std::string_view value = text_.substr(at_ + 1, end - at_ - 1);
    if (value.size() > 32 || value.find_first_of("\\\n") != std::string_view::npos) Refuse("a plain short string expected");
    at_ = end + 1;
    return std::string(value);
  }

  bool Boolean() {
    SkipSpace();
    for (const bool value : {false, true}) {
      const std::string_view word = value ? "True" : "False";
      if (!text_.substr(at_).starts_with(word)) continue;
      at_ += word.size();
      return value;
    }
    Refuse("True or False expected");
  }

  Shape Tuple() {
    Shape shape;
    Expect('(');
    while (!Accept(')')) {
      SkipSpace();
      int64_t extent = 0;
      const char* begin = text_.data() + at_;
      const auto [end, error] = std::from_chars(begin, text_.data() + text_.size(), extent);
      if (error != std::errc() || extent < 0) Refuse("an extent expected");
      if (shape.size() == kMaxRank) Refuse(fmt::format("more than {} dimensions", kMaxRank));
      at_ += static_cast<size_t>(end - begin);
      shape.push_back(extent);
      if (!Accept(',')) {
        if (shape.size() == 1) Refuse("',' expected");       // (3) is no tuple
        Expect(')');
        break;
      }
    }
    return shape;
  }

  const std::string& path_;
  std::string_view text_;
  size_t at_ = 0;
};

// Reads exactly `count` bytes of the file.
void ReadBytes(std::ifstream& file, const std::string& path, char* to, size_t count) {
  if (count > 0 && !file.read(to, static_cast<std::streamsize>(count))) Fail("{}: ends too early, or can't be read", path);
}

Header ReadHeader(std::ifstream& file, const std::string& path) {
  std::array<char, 8> start;
  ReadBytes(file, path, start.data(), start.size());
  if (std::string_view(start.data(), kMagic.size()) != kMagic) Fail("{}: is not a .npy file", path);
  const int version = static_cast<uint8_t>(start[6]);
  if (version < 1 || version > 3 || start[7] != 0) {
    Fail("{}: .npy version {}.{} given, 1.0, 2.0 or 3.0 expected", path, version, static_cast<int>(static_cast<uint8_t>(start[7])));
  }
  uint32_t length = 0;
  ReadBytes(file, path, reinterpret_cast<char*>(&length), version == 1 ? 2 : 4);
  if (length > kMaxHeaderBytes) Fail("{}: .npy header of {} bytes, at most {} expected", path, length, kMaxHeaderBytes);
  std::string text(length, '\0');
  ReadBytes(file, path, text.data(), text.size());
  return HeaderParser(path, text).Parse();
}

void CheckHeader(const Header& header, const std::string& path, const TensorDesc& expected) {
  const std::string_view descr = Descr(expected.dtype);
  if (header.descr != descr && !(expected.dtype == DType::kF16 && header.descr == "<f2")) {
    Fail("{}: dtype '{}' given, '{}' ({}) expected", path, header.descr, descr, Name(expected.dtype));
  }
  if (header.shape != expected.shape) Fail("{}: shape {} given, {} expected", path, ToString(header.shape), ToString(expected.shape));
}

void CheckElements(const HostTensor& tensor, const std::string& path) {
  constexpr int64_t kExact = int64_t{1} << 53;
  const DType dtype = tensor.desc().dtype;
  if (dtype != DType::kBool && dtype != DType::kI64) return;
  for (int64_t i = 0; i < tensor.elements(); ++i) {
    if (dtype == DType::kBool) {
      const auto value = static_cast<uint8_t>(tensor.data()[i]);
      if (value > 1) Fail("{}: element {} is the byte {}, a boolean is 0 or 1", path, i, value);
    } else {
      int64_t value;
      std::memcpy(&value, tensor.data() + i * 8, sizeof value);
      if (value > kExact || value < -kExact) Fail("{}: element {} is {}, beyond 2^53", path, i, value);
    }
  }
}

}  // namespace

HostTensor ReadNpy(const std::string& path, const TensorDesc& expected) {
  std::error_code error;
  const auto status = std::filesystem::status(path, error);
  if (!std::filesystem::exists(status)) Fail("{}: no such file", path);
  if (!std::filesystem::is_regular_file(status)) Fail("{}: is not a regular file", path);
  std::ifstream file(path, std::ios::binary);
  if (!file) Fail("{}: can't be opened: {}", path, std::strerror(errno));
  const Header header = ReadHeader(file, path);
  CheckHeader(header, path, expected);
  // The size is checked before memory is taken for it.
  const uint64_t wanted = static_cast<uint64_t>(expected.elements()) * static_cast<uint64_t>(SizeOf(expected.dtype));
  const auto begin = static_cast<uint64_t>(file.tellg());
  const uint64_t size = std::filesystem::file_size(path, error);
  if (error || size < begin || size - begin != wanted) {
    Fail("{}: {} bytes of elements expected, {} found", path, wanted, size < begin ? 0 : size - begin);
  }
  HostTensor tensor(expected.dtype, expected.shape);
  ReadBytes(file, path, reinterpret_cast<char*>(tensor.data()), wanted);
  if (header.fortran_order && expected.rank() > 1) {
    std::vector<int64_t> strides(expected.shape.size(), 1);
    for (size_t d = 1; d < strides.size(); ++d) strides[d] = strides[d - 1] * expected.shape[d - 1];
    HostTensor row_major(expected.dtype, expected.shape);
    StridedCopy(expected.shape, SizeOf(expected.dtype), tensor.data(), strides, row_major.data(), ContiguousStrides(expected.shape));
    tensor = std::move(row_major);
  }
  CheckElements(tensor, path);
  return tensor;
}

void WriteNpy(const std::string& path, const HostTensor& tensor) {
  const Shape& shape = tensor.desc().shape;
  std::string header = fmt::format("{{'descr': '{}', 'fortran_order': False, 'shape': ({}{}), }}", Descr(tensor.desc().dtype),
                                   fmt::join(shape, ", "), shape.size() == 1 ? "," : "");
  const size_t before = kMagic.size() + 4;                   // magic, version, header length
  header.append((kAlignment - (before + header.size() + 1) % kAlignment) % kAlignment, ' ');
  header += '\n';
  ATHANOR_CHECK(header.size() <= UINT16_MAX);
  const auto length = static_cast<uint16_t>(header.size());
  ReplaceFile(path, [&](std::ostream& file) {
    file.write(kMagic.data(), static_cast<std::streamsize>(kMagic.size()));
    file.write("\x01\x00", 2).write(reinterpret_cast<const char*>(&length), 2);
    file.write(header.data(), static_cast<std::streamsize>(header.size()));
    file.write(reinterpret_cast<const char*>(tensor.data()), tensor.bytes());
  });
}

}  // namespace athanor
