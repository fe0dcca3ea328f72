#include "io/hdf5/file.hpp"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cmath>
#include <csignal>
#include <fstream>
#include <numeric>
#include <thread>

#include "src/base/error.hpp"

// A close that failed leaks a buffer inside HDF5 1.10; only AFullDiskIsAnException makes one.
extern "C" const char* __lsan_default_suppressions() { return "leak:libhdf5\n"; }

namespace athanor::hdf5 {
namespace {

class Hdf5File : public testing::Test {
 protected:
  Hdf5File() : folder_(std::filesystem::temp_directory_path() / ("athanor_hdf5_" + std::to_string(::getpid()))) {
    std::filesystem::create_directories(folder_);
  }
  ~Hdf5File() override { std::filesystem::remove_all(folder_); }

  std::filesystem::path folder_;
};

// Promise: every element type comes back as it went in, and says what it is.
TEST_F(Hdf5File, EveryTypeRoundTrips) {
  for (const DType dtype : {DType::f64, DType::f32, DType::bf16, DType::i64, DType::i32, DType::u8}) {
    std::vector<std::byte> bytes(6 * size_bytes(dtype));
    for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::byte>(7 * i + 1);
    auto file = File::create(folder_ / "types.h5");
    file.create_dataset("/a/b/values", dtype, {2, 3}).write(bytes);
    file.close();

    const auto again = File::open_read_only(folder_ / "types.h5");
    const auto dataset = again.open_dataset("/a/b/values");
    std::vector<std::byte> found(bytes.size());
    dataset.read(found);

    EXPECT_EQ(dataset.dtype(), dtype);
    EXPECT_EQ(dataset.shape(), (Shape{2, 3}));
    EXPECT_EQ(found, bytes);
  }
}

// Promise: bf16 in a file is a number to HDF5, not two bytes.
TEST_F(Hdf5File, Bf16IsConvertedByHdf5) {
  const std::vector<bf16> values{bf16(1.0F), bf16(-0.15625F), bf16(3e38F)};
  auto file = File::create(folder_ / "bf16.h5");
  auto dataset = file.create_dataset("/x", DType::bf16, {3});
  dataset.write(std::as_bytes(std::span(values)));
  std::vector<float> wide(3);
  dataset.read_as(DType::f32, std::as_writable_bytes(std::span(wide)));
  for (std::size_t i = 0; i < 3; ++i) EXPECT_EQ(wide[i], static_cast<float>(values[i]));
}

// Promise: a contiguous dataset's bytes lie at file_offset(), before anything was written through HDF5.
TEST_F(Hdf5File, OffsetsAreWhereTheBytesAre) {
  const auto path = folder_ / "offset.h5";
  auto file = File::create(path);
  const std::int64_t offset = file.create_dataset("/x", DType::i32, {4}).file_offset();
  file.close();
  const std::vector<std::int32_t> values{1, -2, 3, -4};
  {
    std::fstream raw(path, std::ios::in | std::ios::out | std::ios::binary);
    raw.seekp(offset);
    raw.write(reinterpret_cast<const char*>(values.data()), 16);
  }
  std::vector<std::int32_t> found(4);
  File::open_read_only(path).open_dataset("/x").read(std::as_writable_bytes(std::span(found)));
  EXPECT_EQ(found, values);
}

TEST_F(Hdf5File, BoxesAndRowsAreRectangles) {
  std::vector<std::int32_t> values(12);
  std::iota(values.begin(), values.end(), 0);
  auto file = File::create(folder_ / "box.h5");
  auto dataset = file.create_dataset("/x", DType::i32, {3, 4});
  dataset.write(std::as_bytes(std::span(values)));
  std::vector<std::int32_t> box(4), row(4);
  dataset.read_box({{1, 1}, {2, 2}}, std::as_writable_bytes(std::span(box)));
  dataset.read_rows(2, 1, std::as_writable_bytes(std::span(row)));
  EXPECT_EQ(box, (std::vector<std::int32_t>{5, 6, 9, 10}));
  EXPECT_EQ(row, (std::vector<std::int32_t>{8, 9, 10, 11}));
}

TEST_F(Hdf5File, ExtendableDatasetsGrow) {
  auto file = File::create(folder_ / "grow.h5");
  auto dataset = file.create_extendable("/x", DType::i32, {2}, 4, 4);
  const std::vector<std::int32_t> first{1, 2, 3, 4, 5, 6}, second{7, 8};
  dataset.append_rows(std::as_bytes(std::span(first)));
  dataset.append_rows(std::as_bytes(std::span(second)));
  std::vector<std::int32_t> found(8);
  dataset.read(std::as_writable_bytes(std::span(found)));
  EXPECT_EQ(dataset.shape(), (Shape{4, 2}));
  EXPECT_EQ(found, (std::vector<std::int32_t>{1, 2, 3, 4, 5, 6, 7, 8}));
}

// Promise: pieces of two files read as one array, and a missing file reads as NaN, not as zeros.
TEST_F(Hdf5File, VirtualDatasetsShowPiecesAsOne) {
  for (const int rank : {0, 1}) {
    const std::vector<float> piece{static_cast<float>(10 * rank), static_cast<float>(10 * rank + 1)};
    auto file = File::create(folder_ / ("piece" + std::to_string(rank) + ".h5"));
    file.create_dataset("/w", DType::f32, {1, 2}).write(std::as_bytes(std::span(piece)));
    file.close();
  }
  const std::vector<VirtualPiece> pieces{{"piece0.h5", "/w", {{0, 0}, {1, 2}}}, {"piece1.h5", "/w", {{1, 0}, {1, 2}}}};
  auto index = File::create(folder_ / "index.h5");
  index.create_virtual("/model/w", DType::f32, {2, 2}, pieces);
  index.close();
  const auto read = [&] {
    std::vector<float> found(4);
    File::open_read_only(folder_ / "index.h5").open_dataset("/model/w").read(std::as_writable_bytes(std::span(found)));
    return found;
  };
  EXPECT_EQ(read(), (std::vector<float>{0, 1, 10, 11}));
  std::filesystem::remove(folder_ / "piece1.h5");
  EXPECT_TRUE(std::isnan(read()[2]));
}

TEST_F(Hdf5File, TextAndAttributesRoundTrip) {
  auto file = File::create(folder_ / "text.h5");
  file.write_text("/config", "steps = 3\n# für 炉\n");
  file.write_attribute("/", "step", std::int64_t{42});
  file.write_attribute("/", "loss", 1.5);
  file.write_attribute("/config", "origin", std::string("command line"));
  file.close();
  const auto again = File::open_read_only(folder_ / "text.h5");
  EXPECT_EQ(again.read_text("/config"), "steps = 3\n# für 炉\n");
  EXPECT_EQ(again.read_integer_attribute("/", "step"), 42);
  EXPECT_EQ(again.read_real_attribute("/", "loss"), 1.5);
  EXPECT_EQ(again.read_text_attribute("/config", "origin"), "command line");
  EXPECT_TRUE(again.contains("/config"));
  EXPECT_FALSE(again.contains("/no/such"));
  EXPECT_EQ(again.dataset_names(), std::vector<std::string>{"/config"});
}

// Promise: an error names the file and the object.
TEST_F(Hdf5File, ErrorsNameFileAndObject) {
  auto file = File::create(folder_ / "errors.h5");
  try {
    (void)file.open_dataset("/nothing/here");
    FAIL() << "opened a dataset that is not there";
  } catch (const DataError& error) {
    EXPECT_NE(std::string(error.what()).find("/nothing/here in "), std::string::npos) << error.what();
    EXPECT_NE(std::string(error.what()).find("errors.h5"), std::string::npos) << error.what();
  }
  EXPECT_THROW(File::open_read_only(folder_ / "missing.h5"), DataError);
}

// Promise: a buffer of the wrong size is refused before HDF5 reads past its end.
TEST_F(Hdf5File, BuffersMustFit) {
  auto file = File::create(folder_ / "fit.h5");
  auto dataset = file.create_dataset("/x", DType::f32, {2, 2});
  auto growing = file.create_extendable("/y", DType::f32, {3}, 4, 0);
  std::vector<std::byte> bytes(12);
  EXPECT_THROW(dataset.write(bytes), DataError);
  EXPECT_THROW(dataset.read(bytes), DataError);
  EXPECT_THROW(dataset.read_as(DType::f64, bytes), DataError);
  EXPECT_THROW(dataset.read_rows(1, 2, bytes), DataError);
  EXPECT_THROW(growing.append_rows(std::span(bytes).first(8)), DataError);
  EXPECT_EQ(growing.shape()[0], 0);
}

// Promise: a full disk (a limit on file size stands for it) is an exception on close with the system's reason; the
// library stays usable.
TEST_F(Hdf5File, AFullDiskIsAnException) {
  std::signal(SIGXFSZ, SIG_IGN);
  rlimit old{};
  ::getrlimit(RLIMIT_FSIZE, &old);
  const rlimit small{1000, old.rlim_max};
  ::setrlimit(RLIMIT_FSIZE, &small);
  std::string text;
  try {
    auto file = File::create(folder_ / "full.h5");
    for (int i = 0; i < 20; ++i) (void)file.create_dataset("/g/x" + std::to_string(i), DType::f32, {1000});
    file.close();
  } catch (const DataError& error) {
    text = error.what();
  }
  ::setrlimit(RLIMIT_FSIZE, &old);
  EXPECT_NE(text.find("full.h5"), std::string::npos) << text;
  EXPECT_NE(text.find("File too large"), std::string::npos) << text;
  auto file = File::create(folder_ / "full.h5");
  (void)file.create_dataset("/x", DType::f32, {1000});
  file.close();
}

// Promise: a user block is left alone by HDF5 and skipped by readers.
TEST_F(Hdf5File, UserBlocksAreSkipped) {
  const auto path = folder_ / "block.h5";
  auto file = File::create(path, 512);
  file.write_text("/t", "text");
  file.close();
  {
    std::fstream raw(path, std::ios::in | std::ios::out | std::ios::binary);
    raw << "a title";
  }
  EXPECT_EQ(File::open_read_only(path).read_text("/t"), "text");
}

// Promise: threads may use the library at once: the wrapper takes turns.
TEST_F(Hdf5File, ThreadsTakeTurns) {
  const auto work = [this](int thread) {
    for (std::int32_t i = 0; i < 20; ++i) {
      const auto path = folder_ / ("thread" + std::to_string(thread) + ".h5");
      const std::vector<std::int32_t> values{i, thread};
      auto file = File::create(path);
      file.create_dataset("/x", DType::i32, {2}).write(std::as_bytes(std::span(values)));
      file.close();
      std::vector<std::int32_t> found(2);
      File::open_read_only(path).open_dataset("/x").read(std::as_writable_bytes(std::span(found)));
      EXPECT_EQ(found, values);
    }
  };
  std::thread other(work, 1);
  work(0);
  other.join();
}

}  // namespace
}  // namespace athanor::hdf5
