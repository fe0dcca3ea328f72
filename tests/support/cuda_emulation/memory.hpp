// Memory of the emulated GPU: one range of addresses, readable only while a kernel or a copy runs.
#pragma once

#include <cstddef>

namespace emulation {

class DeviceMemory {
 public:
  static DeviceMemory& one();
  void* allocate(std::size_t bytes);  ///< aligned to 256 bytes, every byte 0xff; null when the range is used up
  void free(void* data);
  /// Readable and writable while one exists; they nest.
  class Open {
   public:
    Open() { one().open(); }
    ~Open() { one().close(); }
    Open(const Open&) = delete;
    Open& operator=(const Open&) = delete;
  };
  /// Unreadable again while one exists, inside an Open: what host work of a stream sees.
  class Closed {
   public:
    Closed();
    ~Closed();
    Closed(const Closed&) = delete;
    Closed& operator=(const Closed&) = delete;
  };

 private:
  DeviceMemory();
  void open();
  void close();
  void protect(bool readable);

  std::byte* base_;
  std::size_t used_bytes_ = 0;
  int live_ = 0, open_depth_ = 0;
};

}  // namespace emulation
