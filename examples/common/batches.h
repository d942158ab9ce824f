#pragma once

#include <cstdint>
#include <vector>

#include "examples/common/dataset.h"

// The images of a data set in batches, shuffled anew for each epoch. The order follows from the seed and the epoch alone, so a
// step sees the same images whatever ran before it. What does not fill a batch is left out of its epoch.
class Batches {
 public:
  // Throws athanor::Error when `data` has less than a batch.
  Batches(const Dataset& data, int64_t batch, uint64_t seed);

  int64_t size() const { return batch_; }
  int64_t per_epoch() const { return data_.count() / batch_; }
  // The batch of step `step`, counted from 0 over all epochs, to `images` [batch, 1, 28, 28] and `labels` [batch].
  void Fill(int64_t step, float* images, int64_t* labels);

 private:
  void Shuffle(int64_t epoch);

  const Dataset& data_;
  const int64_t batch_;
  const uint64_t seed_;
  std::vector<int64_t> order_;  // of the images in the epoch `order_epoch_`
  int64_t order_epoch_ = -1;
};
