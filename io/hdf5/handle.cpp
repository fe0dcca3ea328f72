#include "io/hdf5/handle.hpp"

#include <spdlog/spdlog.h>

#include "src/base/error.hpp"

namespace athanor::hdf5 {
namespace {

/// Appends one entry of the error stack, innermost cause last, on one line. A failed close repeats its causes; each is
/// told once.
herr_t append_entry(unsigned, const H5E_error2_t* entry, void* text) {
  auto& out = *static_cast<std::string*>(text);
  std::string line = entry->desc != nullptr ? entry->desc : "";
  for (char& c : line)
    if (c == '\n') c = ' ';
  if (line.empty() || out.find(line) != std::string::npos) return 0;
  if (!out.empty()) out += "; ";
  out += line;
  return 0;
}

std::string error_stack() {
  std::string text;
  H5Ewalk2(H5E_DEFAULT, H5E_WALK_DOWNWARD, append_entry, &text);
  H5Eclear2(H5E_DEFAULT);
  return text.empty() ? "no reason given" : text;
}

}  // namespace

std::unique_lock<std::recursive_mutex> library_lock() {
  // Every handle is closed by its owner. The library's own clean-up at exit would close once more a file whose close
  // failed (a full disk) and crash on what is left of it.
  static const herr_t no_cleanup_at_exit = H5dont_atexit();
  (void)no_cleanup_at_exit;
  static std::recursive_mutex mutex;
  std::unique_lock lock(mutex);
  // Errors come to us as exceptions; the library prints nothing itself. The setting is per thread in thread-safe
  // builds.
  H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr);
  return lock;
}

hid_t check_id(hid_t id, const std::string& what) {
  if (id < 0) throw DataError("HDF5: " + what + " failed: " + error_stack());
  return id;
}

void check(herr_t status, const std::string& what) {
  if (status < 0) throw DataError("HDF5: " + what + " failed: " + error_stack());
}

Handle::~Handle() {
  if (id_ < 0) return;
  const auto lock = library_lock();
  if (close_(id_) < 0) spdlog::warn("HDF5: closing an object failed: {}", error_stack());
}

void Handle::release(const std::string& what) {
  if (id_ < 0) return;
  const auto lock = library_lock();
  check(close_(std::exchange(id_, -1)), what);
}

}  // namespace athanor::hdf5
