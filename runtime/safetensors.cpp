#include "runtime/safetensors.h"

#include <algorithm>
#include <cstring>
#include <fstream>
#include <set>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "ops/error.h"
#include "runtime/replace_file.h"

namespace athanor {
namespace {

using Json = nlohmann::json;

constexpr uint64_t kMaxHeader = 100 << 20;                   // the format's own limit

const std::map<std::string, DType>& DTypes() {
  static const std::map<std::string, DType> names = {{"F32", DType::kF32}, {"BF16", DType::kBF16}, {"F16", DType::kF16}, {"F64", DType::kF64},
                                                     {"I32", DType::kI32}, {"I64", DType::kI64},   {"U8", DType::kU8},   {"BOOL", DType::kBool}};
  return names;
}

std::string NameOf(DType dtype) {
  for (const auto& [name, known] : DTypes()) {
    if (known == dtype) return name;
  }
  throw InternalError("a dtype without a safetensors name");
}

using Range = std::pair<uint64_t, uint64_t>;                 // of bytes

std::vector<uint64_t> Numbers(const Json& entry, const char* key) {
  std::vector<uint64_t> numbers;
  for (const Json& number : entry.at(key)) {
    if (!number.is_number_unsigned()) Fail("'{}' is {}, whole numbers from 0 on expected", key, entry.at(key).dump());
    numbers.push_back(number.get<uint64_t>());
  }
  return numbers;
}

// The tensor that `entry` describes; where it lay is added to `ranges`. Errors say what is wrong with it.
HostTensor ReadTensor(const Json& entry, const std::vector<char>& data, std::vector<Range>* ranges) {
  const auto dtype = DTypes().find(entry.at("dtype").get<std::string>());
  if (dtype == DTypes().end()) Fail("the dtype {} is unknown", entry.at("dtype").dump());
  Shape shape;
  uint64_t bytes = static_cast<uint64_t>(SizeOf(dtype->second));
  for (const uint64_t extent : Numbers(entry, "shape")) {
    if (extent > 0 && bytes > data.size() / extent) Fail("it is larger than the file");
    bytes *= extent;
    shape.push_back(static_cast<int64_t>(extent));
  }
  const std::vector<uint64_t> offsets = Numbers(entry, "data_offsets");
  if (offsets.size() != 2 || offsets[0] > offsets[1] || offsets[1] > data.size() || offsets[1] - offsets[0] != bytes) {
    Fail("'data_offsets' are {}, a range of {} bytes in {} expected", entry.at("data_offsets").dump(), bytes, data.size());
  }
  ranges->emplace_back(offsets[0], offsets[1]);
  HostTensor tensor(dtype->second, shape);
  if (bytes > 0) std::memcpy(tensor.data(), data.data() + offsets[0], bytes);
  for (uint64_t i = 0; dtype->second == DType::kBool && i < bytes; ++i) {
    if (static_cast<uint8_t>(tensor.data()[i]) > 1) Fail("element {} is the byte {}, a boolean is 0 or 1", i, static_cast<uint8_t>(tensor.data()[i]));
  }
  return tensor;
}

// nlohmann's parser keeps the last of several equal keys; here each stands once.
Json ParseHeader(const std::string& text) {
  std::vector<std::set<std::string>> keys;
  return Json::parse(text, [&](int depth, Json::parse_event_t event, Json& parsed) {
    if (event == Json::parse_event_t::object_start) keys.resize(depth + 1), keys.back().clear();
    if (event == Json::parse_event_t::key && !keys.at(depth - 1).insert(parsed.get<std::string>()).second) Fail("the key {} stands twice", parsed.dump());
    return true;
  });
}

// The format allows no byte outside the tensors, and none in two of them.
void CheckCovered(std::vector<Range> ranges, uint64_t size) {
  std::sort(ranges.begin(), ranges.end());
  uint64_t at = 0;
  for (const Range& range : ranges) {
    if (range.first != at) Fail("a tensor's data begins at byte {}, {} expected", range.first, at);
    at = range.second;
  }
  if (at != size) Fail("{} bytes of data, {} expected", size, at);
}

}  // namespace

void WriteSafeTensors(const std::string& path, const SafeTensors& contents) {
  Json header = {{"__metadata__", contents.metadata}};
  int64_t offset = 0;
  for (const auto& [name, tensor] : contents.tensors) {
    header[name] = {{"dtype", NameOf(tensor.desc().dtype)}, {"shape", tensor.desc().shape}, {"data_offsets", {offset, offset + tensor.bytes()}}};
    offset += tensor.bytes();
  }
  std::string text = header.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');
  const uint64_t length = text.size();
  ReplaceFile(path, [&](std::ostream& file) {
    file.write(reinterpret_cast<const char*>(&length), sizeof length);
    file.write(text.data(), static_cast<std::streamsize>(text.size()));
    for (const auto& [name, tensor] : contents.tensors) file.write(reinterpret_cast<const char*>(tensor.data()), tensor.bytes());
  });
}

SafeTensors ReadSafeTensors(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) Fail("{}: can't be read", path);
  uint64_t length = 0;
  if (!file.read(reinterpret_cast<char*>(&length), sizeof length) || length > kMaxHeader) Fail("{}: is no safetensors file", path);
  std::string text(length, 0);
  if (!file.read(text.data(), static_cast<std::streamsize>(length))) Fail("{}: the header is cut off", path);
  const std::vector<char> data((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  SafeTensors contents;
  std::string where = path + ": header";
  try {
    const Json header = ParseHeader(text);
    if (!header.is_object()) Fail("an object expected");
    std::vector<Range> ranges;
    for (const auto& [name, entry] : header.items()) {
      where = fmt::format("{}: '{}'", path, name);
      if (name == "__metadata__") contents.metadata = entry.get<std::map<std::string, std::string>>();
      else contents.tensors.emplace(name, ReadTensor(entry, data, &ranges));
    }
    where = path;
    CheckCovered(std::move(ranges), data.size());
  } catch (const Json::exception& error) {
    Fail("{}: malformed: {}", where, error.what());
  } catch (const Error& error) {
    Fail("{}: {}", where, error.what());
  }
  return contents;
}

}  // namespace athanor
