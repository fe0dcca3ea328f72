#include "tests/support/cuda_emulation/memory.hpp"

#include <sys/mman.h>

#include <algorithm>
#include <map>
#include <stdexcept>

namespace emulation {
namespace {
constexpr std::size_t kRange = std::size_t{64} << 30;  // addresses, not memory
constexpr std::size_t kPage = 4096;

std::map<void*, std::size_t>& sizes() {
  static std::map<void*, std::size_t> of_blocks;
  return of_blocks;
}
}  // namespace

DeviceMemory& DeviceMemory::one() {
  static DeviceMemory memory;
  return memory;
}

DeviceMemory::DeviceMemory() {
  void* range = ::mmap(nullptr, kRange, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (range == MAP_FAILED) throw std::runtime_error("no 64 GiB of addresses for the memory of the emulated GPU");
  base_ = static_cast<std::byte*>(range);
}

void* DeviceMemory::allocate(std::size_t bytes) {
  const std::size_t rounded = (std::max<std::size_t>(bytes, 1) + kPage - 1) / kPage * kPage;
  if (used_bytes_ + rounded > kRange) return nullptr;
  std::byte* data = base_ + used_bytes_;
  ::mprotect(data, rounded, PROT_READ | PROT_WRITE);
  std::fill_n(data, rounded, std::byte{0xff});
  used_bytes_ += rounded;
  if (open_depth_ == 0) ::mprotect(data, rounded, PROT_NONE);
  sizes()[data] = rounded;
  ++live_;
  return data;
}

void DeviceMemory::free(void* data) {
  const auto found = sizes().find(data);
  if (found == sizes().end()) throw std::runtime_error("cudaFree of memory that cudaMalloc did not give");
  ::madvise(data, found->second, MADV_DONTNEED);
  sizes().erase(found);
  if (--live_ == 0) used_bytes_ = 0;
}

void DeviceMemory::protect(bool readable) {
  if (used_bytes_ > 0) ::mprotect(base_, used_bytes_, readable ? PROT_READ | PROT_WRITE : PROT_NONE);
}

void DeviceMemory::open() {
  if (open_depth_++ == 0) protect(true);
}

void DeviceMemory::close() {
  if (--open_depth_ == 0) protect(false);
}

DeviceMemory::Closed::Closed() { one().protect(false); }

DeviceMemory::Closed::~Closed() {
  if (one().open_depth_ > 0) one().protect(true);
}

}  // namespace emulation
