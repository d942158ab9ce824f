#pragma once

#include <optional>
#include <string>

namespace athanor {

struct Program;

// An output that is written where an input lives: a parameter updated in place.
struct InPlace {
  std::string output, input;
};

// Thrown when the input whose memory `output` shares is still needed when the kernel that computes the output writes it: the output must be
// computed elsewhere, and copied when all else is done.
struct NeedsCopyOfOutput {
  std::string output;
};

// The first output in place whose kernel would read what it has overwritten: other elements of the input than the one it computes, or the
// same after it is written. Assumes that generated code follows Body: at each point stores are made in order, each loads what it needs and no
// earlier one has loaded, and the passes over a row are those of PassPlan.
std::optional<std::string> FindOverwritten(const Program& program);

}  // namespace athanor
