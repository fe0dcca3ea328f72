#include "io/hdf5/file.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <fstream>
#include <numeric>

#include "src/base/error.hpp"

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

}  // namespace
}  // namespace athanor::hdf5
