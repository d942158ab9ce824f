// Trains a small residual network on Fashion-MNIST; every kernel it runs was written by Athanor a moment before.
#include "examples/common/training_program.h"
#include "examples/train_cnn/model.h"

int main(int argc, char** argv) {
  Recipe recipe;
  recipe.network = [](int64_t batch, bool training) { return ResNet(ResNetConfig(), batch, training); };
  recipe.optimizer = {.kind = Optimizer::Kind::kSgd, .weight_decay = 5e-4, .momentum = 0.9};
  recipe.peak_lr = 0.1;
  return RunTrainingProgram({"train_cnn", "Trains a residual network on Fashion-MNIST.", "build/train_cnn", recipe}, argc, argv);
}
