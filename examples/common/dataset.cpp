#include "examples/common/dataset.h"

#include <zlib.h>

#include "ops/error.h"

namespace {

// Reads a gzipped IDX file: a magic number, big-endian extents, then bytes.
std::vector<uint8_t> ReadIdx(const std::string& path, int rank, int64_t item) {
  gzFile file = gzopen(path.c_str(), "rb");
  if (file == nullptr) athanor::Fail("{}: can't be read (Debian's package dataset-fashion-mnist has it)", path);
  std::vector<uint8_t> bytes;
  uint8_t buffer[1 << 16];
  for (int got; (got = gzread(file, buffer, sizeof buffer)) > 0;) bytes.insert(bytes.end(), buffer, buffer + got);
  gzclose(file);
  const size_t header = 4 + 4 * rank;
  if (bytes.size() < header || bytes[2] != 8 || bytes[3] != rank) {
    athanor::Fail("{}: is no IDX file of bytes with {} dimensions", path, rank);
  }
  int64_t count = 0;
  for (int i = 4; i < 8; ++i) count = count << 8 | bytes[i];
  if (static_cast<int64_t>(bytes.size() - header) != count * item) {
    athanor::Fail("{}: {} items expected, the file is cut off", path, count);
  }
  bytes.erase(bytes.begin(), bytes.begin() + header);
  return bytes;
}

}  // namespace

Dataset LoadFashionMnist(const std::string& directory, const std::string& split) {
  const std::vector<uint8_t> pixels = ReadIdx(directory + "/" + split + "-images-idx3-ubyte.gz", 3, kPixels);
  const std::vector<uint8_t> labels = ReadIdx(directory + "/" + split + "-labels-idx1-ubyte.gz", 1, 1);
  if (pixels.size() != labels.size() * kPixels) athanor::Fail("{}: images and labels of '{}' differ in number", directory, split);
  constexpr float kMean = 0.2860f, kDeviation = 0.3530f;  // of the training images
  Dataset data;
  data.images.reserve(pixels.size());
  for (uint8_t pixel : pixels) data.images.push_back((pixel / 255.0f - kMean) / kDeviation);
  data.labels.assign(labels.begin(), labels.end());
  return data;
}
