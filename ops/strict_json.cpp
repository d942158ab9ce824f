#include "ops/strict_json.h"

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "ops/error.h"

namespace athanor {
namespace {

using Json = nlohmann::ordered_json;

constexpr size_t kMaxBytes = 64 << 20;
constexpr int kMaxDepth = 8;
constexpr size_t kMaxKeys = 64;  // of one object

// Builds the document.
class StrictParser : public nlohmann::json_sax<Json> {
 public:
  bool null() override { return Value(nullptr); }
  bool boolean(bool value) override { return Value(value); }
  bool number_integer(number_integer_t value) override { return Value(value); }
  bool number_unsigned(number_unsigned_t value) override {
    if (value > static_cast<uint64_t>(INT64_MAX)) return Refuse(fmt::format("the integer {} is too large", value));
    return Value(static_cast<int64_t>(value));
  }
  bool number_float(number_float_t value, const string_t&) override { return Value(value); }
  bool string(string_t& value) override { return Value(value); }
  bool binary(binary_t&) override { return Refuse("binary data"); }
  bool start_object(size_t) override { return Open(Json::object()); }
  bool start_array(size_t) override { return Open(Json::array()); }
  bool end_object() override { return Close(); }
  bool end_array() override { return Close(); }
  bool key(string_t& name) override {
    if (open_.back()->size() == kMaxKeys) return Refuse(fmt::format("an object has more than {} keys", kMaxKeys));
    if (open_.back()->contains(name)) return Refuse(fmt::format("the key \"{}\" stands twice in one object", name));
    key_ = name;
    return true;
  }
  bool parse_error(size_t position, const std::string&, const nlohmann::detail::exception& error) override {
    const std::string text = error.what();  // "[json.exception...] parse error at line 1, column 2: ..."
    const size_t start = text.find("parse error");
    return Refuse(start == std::string::npos ? fmt::format("malformed JSON at byte {}", position) : "JSON " + text.substr(start));
  }

  Json document;
  std::string error;

 private:
  bool Refuse(std::string why) {
    if (error.empty()) error = std::move(why);
    return false;
  }
  Json* Place(Json value) {
    if (open_.empty()) return &(document = std::move(value));
    if (open_.back()->is_array()) return open_.back()->push_back(std::move(value)), &open_.back()->back();
    return &((*open_.back())[key_] = std::move(value));
  }
  bool Value(Json value) {
    Place(std::move(value));
    return true;
  }
  bool Open(Json value) {
    if (open_.size() == kMaxDepth) return Refuse(fmt::format("nested deeper than {} levels", kMaxDepth));
    open_.push_back(Place(std::move(value)));
    return true;
  }
  bool Close() {
    open_.pop_back();
    return true;
  }

  std::vector<Json*> open_;
  std::string key_;
};

}  // namespace

Json ParseStrictJson(std::string_view text, std::string_view where) {
  if (text.size() > kMaxBytes) Fail("{}: {} bytes, at most {} expected", where, text.size(), kMaxBytes);
  StrictParser parser;
  if (!Json::sax_parse(text, &parser)) Fail("{}: {}", where, parser.error);
  return std::move(parser.document);
}

}  // namespace athanor
