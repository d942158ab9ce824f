#include "runtime/safetensors.h"

#include <fcntl.h>
#include <unistd.h>

#include <cstring>
#include <fstream>
#include <vector>

#include <nlohmann/json.hpp>

#include "ops/error.h"

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

HostTensor ReadTensor(const std::string& path, const std::string& name, const Json& entry, const std::vector<char>& data) {
  const auto dtype = DTypes().find(entry.at("dtype").get<std::string>());
  if (dtype == DTypes().end()) Fail("{}: tensor '{}' has the unknown dtype {}", path, name, entry.at("dtype").dump());
  const Shape shape = entry.at("shape").get<Shape>();
  const auto offsets = entry.at("data_offsets").get<std::vector<uint64_t>>();
  uint64_t bytes = static_cast<uint64_t>(SizeOf(dtype->second));
  for (int64_t extent : shape) {
    if (extent < 0 || (extent > 0 && bytes > data.size() / extent)) Fail("{}: tensor '{}' is larger than the file", path, name);
    bytes *= extent;
  }
  if (offsets.size() != 2 || offsets[0] > offsets[1] || offsets[1] > data.size() || offsets[1] - offsets[0] != bytes) {
    Fail("{}: tensor '{}' of {} bytes lies at {}", path, name, bytes, entry.at("data_offsets").dump());
  }
  HostTensor tensor(dtype->second, shape);
  std::memcpy(tensor.data(), data.data() + offsets[0], bytes);
  return tensor;
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
  const std::string temporary = path + ".partial";
  std::ofstream file(temporary, std::ios::binary | std::ios::trunc);
  file.write(reinterpret_cast<const char*>(&length), sizeof length);
  file.write(text.data(), static_cast<std::streamsize>(text.size()));
  for (const auto& [name, tensor] : contents.tensors) file.write(reinterpret_cast<const char*>(tensor.data()), tensor.bytes());
  file.close();
  if (!file) Fail("{}: can't be written: {}", path, std::strerror(errno));
  const int fd = open(temporary.c_str(), O_RDONLY);
  const bool synced = fd >= 0 && fsync(fd) == 0;
  if (fd >= 0) close(fd);
  if (!synced || std::rename(temporary.c_str(), path.c_str()) != 0) Fail("{}: can't be written: {}", path, std::strerror(errno));
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
  try {
    const Json header = Json::parse(text);
    for (const auto& [name, entry] : header.items()) {
      if (name == "__metadata__") contents.metadata = entry.get<std::map<std::string, std::string>>();
      else contents.tensors.emplace(name, ReadTensor(path, name, entry, data));
    }
  } catch (const Json::exception& error) {
    Fail("{}: the header is malformed: {}", path, error.what());
  }
  return contents;
}

}  // namespace athanor
