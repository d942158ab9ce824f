#pragma once

#include "jit/body.h"

namespace athanor {

// The same body over finer dimensions: every dimension is split wherever an access map changes digit, so that in the result a
// dimension of a map is, as far as extents divide, one digit.
Body SplitDigits(const Body& body);

}  // namespace athanor
