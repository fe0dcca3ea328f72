// Ownership of HDF5 identifiers, and HDF5's errors as ours. Law: an identifier is closed once, by a move-only Handle
// whose destructor logs and never throws. Every call into the library holds library_lock(): Debian's HDF5 is not
// thread-safe and a checkpoint is written by a thread of its own.
#pragma once

#include <hdf5.h>

#include <mutex>
#include <string>
#include <utility>

namespace athanor::hdf5 {

/// The one lock of the HDF5 library of this process. Recursive: wrapper functions call each other.
std::unique_lock<std::recursive_mutex> library_lock();

/// @throws DataError with `what` and the texts of HDF5's error stack when `id` is negative; else returns it.
hid_t check_id(hid_t id, const std::string& what);
/// The same for status codes.
void check(herr_t status, const std::string& what);

class Handle {
 public:
  using Close = herr_t (*)(hid_t);
  Handle() = default;
  Handle(hid_t id, Close close) : id_(id), close_(close) {}
  Handle(Handle&& other) noexcept : id_(std::exchange(other.id_, -1)), close_(other.close_) {}
  Handle& operator=(Handle&& other) noexcept {
    std::swap(id_, other.id_);
    std::swap(close_, other.close_);
    return *this;
  }
  ~Handle();

  hid_t id() const { return id_; }
  /// Closes now, where a failure matters. @throws DataError
  void release(const std::string& what);

 private:
  hid_t id_ = -1;
  Close close_ = nullptr;
};

}  // namespace athanor::hdf5
