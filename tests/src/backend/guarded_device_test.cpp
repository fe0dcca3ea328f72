// The guarded device: tensor memory is unreadable outside operations, and work runs late. What these tests promise is
// that host code which peeks or forgets to wait fails on a machine without a GPU.
#include <gtest/gtest.h>

#include <cmath>

#include "src/backend/backend.hpp"

namespace athanor {
namespace {

class GuardedDeviceTest : public testing::Test {
 protected:
  std::unique_ptr<Backend> ops_ = make_backend("cpu-guarded");
  std::unique_ptr<Stream> stream_ = ops_->make_stream();

  float download(const Tensor& tensor) {
    float value = -1.0F;
    ops_->download(std::as_writable_bytes(std::span(&value, 1)), tensor, *stream_);
    stream_->synchronize();
    return value;
  }
};
using GuardedDeviceDeathTest = GuardedDeviceTest;

// Promise: reading an element outside an operation kills the process.
TEST_F(GuardedDeviceDeathTest, ReadingOutsideAnOperationDies) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  const Tensor t = ops_->empty({4}, DType::f32);
  ops_->fill(t, 1.0, *stream_);
  stream_->synchronize();
  EXPECT_DEATH(std::printf("%d", static_cast<int>(*static_cast<volatile std::byte*>(t.unsafe_data()))), "");
}

// Promise: so does writing one, before any work ran.
TEST_F(GuardedDeviceDeathTest, WritingOutsideAnOperationDies) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  const Tensor t = ops_->empty({4}, DType::f32);
  EXPECT_DEATH(*static_cast<volatile std::byte*>(t.unsafe_data()) = std::byte{1}, "");
}

// Promise: an operation has not run when it returns; it has after synchronize().
TEST_F(GuardedDeviceTest, WorkIsLate) {
  const Tensor t = ops_->empty({1}, DType::f32);
  ops_->fill(t, 1.0, *stream_);
  float early = -1.0F;
  ops_->download(std::as_writable_bytes(std::span(&early, 1)), t, *stream_);
  EXPECT_EQ(early, -1.0F);
  stream_->synchronize();
  EXPECT_EQ(early, 1.0F);
}

// Promise: new memory is NaN, so that reading before writing is seen.
TEST_F(GuardedDeviceTest, NewMemoryIsNan) { EXPECT_TRUE(std::isnan(download(ops_->empty({1}, DType::f32)))); }

// Promise: work on another stream is done once an event orders it, and only then.
TEST_F(GuardedDeviceTest, EventsOrderStreams) {
  const auto other = ops_->make_stream();
  const auto event = ops_->make_event();
  const Tensor t = ops_->empty({1}, DType::f32);
  ops_->fill(t, 2.0, *other);
  other->record(*event);
  ops_->fill(t, 3.0, *other);  // after the mark: not waited for
  EXPECT_TRUE(std::isnan(download(t)));
  stream_->wait(*event);
  EXPECT_EQ(download(t), 2.0F);
  other->synchronize();
  EXPECT_EQ(download(t), 3.0F);
}

// Promise: an error in late work comes out of synchronize(), and the stream goes on.
TEST_F(GuardedDeviceTest, LateErrorsComeOutOfSynchronize) {
  const std::vector<std::int32_t> bad{9};
  const Tensor ids = upload_vector<std::int32_t>(*ops_, bad, {1}, *stream_);
  const Tensor table = ops_->empty({2, 1}, DType::f32), row = ops_->empty({1, 1}, DType::f32);
  ops_->gather_rows(row, table, ids, *stream_);
  EXPECT_THROW(stream_->synchronize(), Error);
  ops_->fill(row, 5.0, *stream_);
  EXPECT_EQ(download(row), 5.0F);
}

}  // namespace
}  // namespace athanor
