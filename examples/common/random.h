#pragma once

#include <random>

// Uniform in [0, 1), from the upper bits of the generator: the same on every platform, which the standard's distributions are
// not.
double Uniform(std::mt19937_64& random);
