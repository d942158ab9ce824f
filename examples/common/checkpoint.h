#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "examples/common/named_tensors.h"

// Options of a program, by name, that a training has to go on with: its checkpoint holds them.
using Settings = std::vector<std::pair<std::string, int64_t>>;

// Writes the tensors of `state` and the number of steps done as a safetensors file.
void SaveCheckpoint(const std::string& path, const NamedTensors& tensors, const std::vector<std::string>& state,
                    const Settings& settings, int64_t done);
// Reads them back and returns the number of steps done. Throws athanor::Error naming the path where the file is no checkpoint,
// was written with other settings, or lacks a tensor.
int64_t LoadCheckpoint(const std::string& path, NamedTensors& tensors, const std::vector<std::string>& state,
                       const Settings& settings);
