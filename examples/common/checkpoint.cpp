#include "examples/common/checkpoint.h"

#include <fmt/core.h>

#include <charconv>
#include <cstring>

#include "ops/error.h"
#include "runtime/safetensors.h"

namespace {

int64_t Number(const athanor::SafeTensors& file, const std::string& path, const std::string& name) {
  const auto found = file.metadata.find(name);
  if (found == file.metadata.end()) athanor::Fail("{}: no '{}' in the metadata: not a checkpoint of this program", path, name);
  const std::string& text = found->second;
  int64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size() || number < 0) {
    athanor::Fail("{}: '{}' is '{}' in the metadata, expected a number that is not negative", path, name, text);
  }
  return number;
}

void CheckSettings(const athanor::SafeTensors& file, const std::string& path, const Settings& settings) {
  std::string written;
  bool same = true;
  for (const auto& [name, value] : settings) {
    const int64_t number = Number(file, path, name);
    written += fmt::format(" --{} {}", name, number);
    same &= number == value;
  }
  if (!same) athanor::Fail("{}: was written with{}", path, written);
}

}  // namespace

void SaveCheckpoint(const std::string& path, const NamedTensors& tensors, const std::vector<std::string>& state,
                    const Settings& settings, int64_t done) {
  athanor::SafeTensors file;
  for (const std::string& name : state) file.tensors.emplace(name, tensors.at(name));
  file.metadata.emplace("step", std::to_string(done));
  for (const auto& [name, value] : settings) file.metadata.emplace(name, std::to_string(value));
  athanor::WriteSafeTensors(path, file);
}

int64_t LoadCheckpoint(const std::string& path, NamedTensors& tensors, const std::vector<std::string>& state,
                       const Settings& settings) {
  const athanor::SafeTensors file = athanor::ReadSafeTensors(path);
  CheckSettings(file, path, settings);
  const int64_t done = Number(file, path, "step");
  for (const std::string& name : state) {
    const auto found = file.tensors.find(name);
    if (found == file.tensors.end() || !(found->second.desc() == tensors.at(name).desc())) {
      athanor::Fail("{}: tensor '{}' is missing or of another shape", path, name);
    }
    std::memcpy(tensors.at(name).data(), found->second.data(), found->second.bytes());
  }
  return done;
}
