#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string_view>

namespace athanor {

// A JSON document that someone else wrote. Refuses what nlohmann's parser lets pass: repeated keys, integers beyond 64 bits,
// nesting deeper than 8 levels, objects of more than 64 keys, texts over 64 MB. Throws Error that begins with `where`.
nlohmann::ordered_json ParseStrictJson(std::string_view text, std::string_view where);

}  // namespace athanor
