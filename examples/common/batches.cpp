#include "examples/common/batches.h"

#include <cstring>
#include <numeric>
#include <random>
#include <utility>

#include "ops/error.h"

Batches::Batches(const Dataset& data, int64_t batch, uint64_t seed) : data_(data), batch_(batch), seed_(seed) {
  if (data.count() < batch) athanor::Fail("the data set has {} images, a batch needs {}", data.count(), batch);
}

void Batches::Shuffle(int64_t epoch) {
  order_.resize(data_.count());
  std::iota(order_.begin(), order_.end(), 0);
  std::mt19937_64 random(seed_ * 1000003 + epoch + 1);
  for (int64_t i = data_.count() - 1; i > 0; --i) std::swap(order_[i], order_[random() % (i + 1)]);
  order_epoch_ = epoch;
}

void Batches::Fill(int64_t step, float* images, int64_t* labels) {
  const int64_t epoch = step / per_epoch(), first = step % per_epoch() * batch_;
  if (epoch != order_epoch_) Shuffle(epoch);
  for (int64_t i = 0; i < batch_; ++i) {
    const int64_t chosen = order_[first + i];
    std::memcpy(images + i * kPixels, data_.images.data() + chosen * kPixels, kPixels * sizeof(float));
    labels[i] = data_.labels[chosen];
  }
}
