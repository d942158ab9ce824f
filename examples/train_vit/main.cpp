// Trains a Vision Transformer on Fashion-MNIST; every kernel it runs was written by Athanor a moment before.
#include "examples/common/training_program.h"
#include "examples/train_vit/model.h"

int main(int argc, char** argv) {
  Recipe recipe;
  recipe.network = [](int64_t batch, bool training) { return VisionTransformer(VitConfig(), batch, training); };
  recipe.optimizer = {.kind = Optimizer::Kind::kAdamW, .weight_decay = 0.05};
  recipe.peak_lr = 1e-3;
  return RunTrainingProgram({"train_vit", "Trains a Vision Transformer on Fashion-MNIST.", "build/demo", recipe}, argc, argv);
}
