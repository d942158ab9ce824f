// What the program reads and writes besides fragments: .npy and safetensors files, written as a whole or not at all.
#include <gmock/gmock.h>
#include <sys/resource.h>

#include <csignal>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "ops/error.h"
#include "runtime/npy.h"
#include "runtime/replace_file.h"
#include "runtime/safetensors.h"
#include "tests/cache/temporary_directory.h"

namespace athanor {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::StartsWith;
using ::testing::ThrowsMessage;

HostTensor Counting(DType dtype, const Shape& shape) {
  HostTensor tensor(dtype, shape);
  for (int64_t i = 0; i < tensor.elements(); ++i) tensor.Set(i, dtype == DType::kBool ? i % 2 : i);
  return tensor;
}

void ExpectEqual(const HostTensor& a, const HostTensor& b) {
  EXPECT_EQ(a.desc().dtype, b.desc().dtype);
  ASSERT_EQ(a.desc().shape, b.desc().shape);
  EXPECT_EQ(std::memcmp(a.data(), b.data(), a.bytes()), 0);
}

void WriteText(const std::string& path, std::string_view text) { std::ofstream(path, std::ios::binary) << text; }

std::string ReadText(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

// A safetensors file with this header and so many zeros behind it.
void WriteHeader(const std::string& path, const std::string& header, size_t zeros) {
  const uint64_t length = header.size();
  WriteText(path, std::string(reinterpret_cast<const char*>(&length), sizeof length) + header + std::string(zeros, '\0'));
}

size_t FilesIn(const std::string& directory) {
  return std::distance(std::filesystem::directory_iterator(directory), std::filesystem::directory_iterator());
}

class Files : public ::testing::Test {
 protected:
  std::string Path(const std::string& name) const { return directory_ / name; }
  TemporaryDirectory directory_;
};

constexpr DType kAllDTypes[] = {DType::kF32, DType::kBF16, DType::kF16, DType::kF64, DType::kI32, DType::kI64, DType::kU8, DType::kBool};

TEST_F(Files, NpyRoundTrip) {
  for (const DType dtype : kAllDTypes) {
    for (const Shape& shape : {Shape{}, Shape{0}, Shape{5}, Shape{2, 3}, Shape{2, 0, 3}, Shape{3, 1, 4}}) {
      const HostTensor tensor = Counting(dtype, shape);
      WriteNpy(Path("x.npy"), tensor);
      ExpectEqual(ReadNpy(Path("x.npy"), tensor.desc()), tensor);
    }
  }
}

TEST_F(Files, NpyRefusesWhatIsNotExpected) {
  const std::string path = Path("x.npy");
  const TensorDesc expected(DType::kF32, {2, 3});
  const auto refused = [&](const std::string& why) {
    EXPECT_THAT([&] { ReadNpy(path, expected); }, ThrowsMessage<Error>(AllOf(StartsWith(path), HasSubstr(why)))) << why;
  };
  refused("no such file");
  WriteText(path, "");
  refused("ends too early");
  WriteText(path, "not an array of numbers");
  refused("is not a .npy file");
  WriteNpy(path, Counting(DType::kF64, {2, 3}));
  refused("dtype '<f8' given, '<f4' (f32) expected");
  WriteNpy(path, Counting(DType::kF32, {3, 2}));
  refused("shape [3, 2] given, [2, 3] expected");
  WriteNpy(path, Counting(DType::kF32, {2, 3}));
  const std::string whole = ReadText(path);
  for (const size_t size : {size_t{7}, size_t{9}, size_t{40}}) {
    WriteText(path, std::string_view(whole).substr(0, size));
    refused("ends too early");
  }
  WriteText(path, whole.substr(0, whole.size() - 1));
  refused("24 bytes of elements expected, 23 found");
  WriteText(path, whole + "x");
  refused("24 bytes of elements expected, 25 found");
  std::filesystem::remove(path);
  std::filesystem::create_directory(path);
  refused("is not a regular file");
}

TEST_F(Files, SafeTensorsRoundTrip) {
  SafeTensors contents;
  for (const DType dtype : kAllDTypes) contents.tensors.emplace(std::string(Name(dtype)), Counting(dtype, {2, 3}));
  contents.tensors.emplace("scalar", Counting(DType::kF32, {}));
  contents.tensors.emplace("nothing", Counting(DType::kF32, {0, 4}));
  contents.metadata = {{"step", "17"}, {"a \"quoted\" key", "\n"}};
  WriteSafeTensors(Path("x.safetensors"), contents);
  const SafeTensors read = ReadSafeTensors(Path("x.safetensors"));
  EXPECT_EQ(read.metadata, contents.metadata);
  ASSERT_EQ(read.tensors.size(), contents.tensors.size());
  for (const auto& [name, tensor] : contents.tensors) ExpectEqual(read.tensors.at(name), tensor);
}

TEST_F(Files, SafeTensorsRefusesMalformedHeaders) {
  const std::string path = Path("x.safetensors");
  const auto refused = [&](const std::string& header, size_t zeros, const std::string& why) {
    WriteHeader(path, header, zeros);
    EXPECT_THAT([&] { ReadSafeTensors(path); }, ThrowsMessage<Error>(AllOf(StartsWith(path), HasSubstr(why)))) << header;
  };
  refused(R"({"a": )", 0, "malformed");
  refused(R"([1])", 0, "an object expected");
  refused(R"({"a": {"dtype": "F32", "shape": [2]}})", 8, "malformed");
  refused(R"({"a": {"dtype": "F31", "shape": [2], "data_offsets": [0, 8]}})", 8, "the dtype \"F31\" is unknown");
  refused(R"({"a": {"dtype": "F32", "shape": [-2], "data_offsets": [0, 8]}})", 8, "whole numbers from 0 on expected");
  refused(R"({"a": {"dtype": "F32", "shape": [4611686018427387904, 4], "data_offsets": [0, 0]}})", 8, "larger than the file");
  refused(R"({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 9]}})", 9, "a range of 8 bytes in 9 expected");
  refused(R"({"a": {"dtype": "F32", "shape": [2], "data_offsets": [8, 16]}})", 16, "begins at byte 8, 0 expected");
  refused(R"({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}, "b": {"dtype": "F32", "shape": [1], "data_offsets": [4, 8]}})", 8,
          "begins at byte 4, 8 expected");
  refused(R"({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}})", 12, "12 bytes of data, 8 expected");
  refused(R"({"a": {"dtype": "U8", "shape": [0], "data_offsets": [0, 0]}, "a": {"dtype": "U8", "shape": [0], "data_offsets": [0, 0]}})", 0,
          "the key \"a\" stands twice");
  refused(R"({"__metadata__": {"step": 3}})", 0, "malformed");
  WriteText(path, "abc");
  EXPECT_THAT([&] { ReadSafeTensors(path); }, ThrowsMessage<Error>(HasSubstr("is no safetensors file")));
  WriteText(path, std::string("\x10\0\0\0\0\0\0\0{}", 10));
  EXPECT_THAT([&] { ReadSafeTensors(path); }, ThrowsMessage<Error>(HasSubstr("the header is cut off")));
}

// A limit on the size of files stands for a full disk: writing fails in the middle.
TEST_F(Files, FailureInTheMiddleKeepsTheOldFile) {
  const std::string path = Path("x.npy");
  WriteNpy(path, Counting(DType::kF32, {4}));
  const std::string before = ReadText(path);
  rlimit old{};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &old), 0);
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  const rlimit small{100000, old.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);
  EXPECT_THAT([&] { WriteNpy(path, Counting(DType::kF32, {100000})); },
              ThrowsMessage<Error>(AllOf(StartsWith(path), HasSubstr("can't be written: File too large"))));
  SafeTensors contents;
  contents.tensors.emplace("x", Counting(DType::kF32, {100000}));
  EXPECT_THAT([&] { WriteSafeTensors(path, contents); }, ThrowsMessage<Error>(HasSubstr("File too large")));
  setrlimit(RLIMIT_FSIZE, &old);
  std::signal(SIGXFSZ, handler);
  EXPECT_EQ(ReadText(path), before);
  EXPECT_EQ(FilesIn(Path("")), 1u);
}

TEST_F(Files, UnwritableDirectoryIsAnError) {
  EXPECT_THAT([&] { ReplaceFile(Path("missing/x"), [](std::ostream& file) { file << 1; }); },
              ThrowsMessage<Error>(HasSubstr("x: can't be written: No such file or directory")));
}

}  // namespace
}  // namespace athanor
