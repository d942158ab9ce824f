#include "bench/models/registry.h"

#include <fmt/ranges.h>

#include <charconv>
#include <set>

#include "bench/models/networks.h"
#include "ops/error.h"
#include "ops/fragment.h"

namespace athanor::models {
namespace {

constexpr std::string_view kTraining = ".train";

struct Option {
  std::string_view name;
  int64_t Size::*field;
  int64_t fallback, least, most, multiple;
};

struct Network {
  std::string_view name;
  Graph (*build)(const Size&);
  std::vector<Option> options;
};

constexpr Option kBatch = {"batch", &Size::batch, 1, 1, 65536, 1};

Option Image(int64_t fallback, int64_t least, int64_t multiple) { return {"image", &Size::image, fallback, least, 4096, multiple}; }
Option Length(int64_t most) { return {"length", &Size::length, 128, 1, most, 1}; }
Option Shrink(int64_t most) { return {"shrink", &Size::shrink, 1, 1, most, 1}; }

const std::vector<Network>& Networks() {
  static const std::vector<Network> networks = {
      {"alexnet", AlexNet, {kBatch, Image(224, 63, 1), Shrink(64)}}, {"vgg16", Vgg16, {kBatch, Image(224, 32, 1), Shrink(64)}},
      {"resnet50", ResNet50, {kBatch, Image(224, 1, 1), Shrink(64)}}, {"yolov7", Yolov7, {kBatch, Image(640, 32, 32), Shrink(32)}},
      {"vit", VitB16, {kBatch, Image(224, 16, 16), Shrink(64)}},     {"bert", BertBase, {kBatch, Length(512), Shrink(64)}},
      {"gpt2", Gpt2, {kBatch, Length(1024), Shrink(64)}}};
  return networks;
}

void SetOption(const std::string& path, const Network& network, std::string_view text, Size* size, std::set<std::string_view>* seen) {
  const size_t equals = text.find('=');
  const std::string_view name = text.substr(0, equals), value = equals == text.npos ? "" : text.substr(equals + 1);
  std::vector<std::string_view> known;
  for (const Option& option : network.options) {
    known.push_back(option.name);
    if (option.name != name) continue;
    if (!seen->insert(option.name).second) Fail("{}: option '{}' is given twice", path, name);
    int64_t number = 0;
    const auto [end, error] = std::from_chars(value.begin(), value.end(), number);
    if (error != std::errc() || end != value.end() || number < option.least || number > option.most || number % option.multiple != 0) {
      Fail("{}: option '{}' is '{}', expected a number from {} to {}{}", path, name, value, option.least, option.most,
           option.multiple > 1 ? fmt::format(" that {} divides", option.multiple) : "");
    }
    if (option.name == "shrink" && (number & (number - 1)) != 0) Fail("{}: option 'shrink' is {}, expected a power of two", path, number);
    size->*option.field = number;
    return;
  }
  Fail("{}: unknown option '{}'; {} has {}", path, name, network.name, fmt::join(known, ", "));
}

}  // namespace

bool IsModel(std::string_view path) { return path.starts_with(kModelPrefix); }

std::vector<std::string> ModelNames() {
  std::vector<std::string> names;
  for (const Network& network : Networks()) names.emplace_back(network.name);
  return names;
}

Graph BuildModel(const std::string& path) {
  std::string_view rest = std::string_view(path).substr(kModelPrefix.size()), name = rest.substr(0, rest.find('?'));
  Size size;
  size.training = name.ends_with(kTraining);
  rest.remove_prefix(name.size());
  if (size.training) name.remove_suffix(kTraining.size());
  for (const Network& network : Networks()) {
    if (network.name != name) continue;
    for (const Option& option : network.options) size.*option.field = option.fallback;
    std::set<std::string_view> seen;
    while (!rest.empty()) {
      rest.remove_prefix(1);                                 // '?' or '&'
      const std::string_view option = rest.substr(0, rest.find('&'));
      SetOption(path, network, option, &size, &seen);
      rest.remove_prefix(option.size());
    }
    return network.build(size);
  }
  Fail("{}: unknown model '{}', expected one of {}", path, name, fmt::join(ModelNames(), ", "));
}

Graph LoadGraph(const std::string& path, bool grad) {
  if (!IsModel(path)) return LoadFragment(path);
  const size_t end = std::min(path.find('?'), path.size());
  const bool training = std::string_view(path).substr(0, end).ends_with(kTraining);
  return BuildModel(grad && !training ? std::string(path).insert(end, kTraining) : path);
}

}  // namespace athanor::models
