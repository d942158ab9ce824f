#pragma once

#include <string>

#include "examples/common/image_trainer.h"

// An example that trains on Fashion-MNIST.
struct TrainingProgram {
  std::string name, description, out;  // `out`: the folder of the results unless --out names another
  Recipe recipe;                       // unless options change it
};

// Its main: options, training with a progress bar, Ctrl-C, checkpoints, results. Returns the exit status.
int RunTrainingProgram(const TrainingProgram& program, int argc, char** argv);
