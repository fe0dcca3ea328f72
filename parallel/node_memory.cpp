#include "parallel/node_memory.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>

#include "src/base/error.hpp"

namespace athanor {
namespace {

std::string why(const char* what) { return fmt::format("{}: {}", what, std::strerror(errno)); }

}  // namespace

NodeMemory::NodeMemory(HostGroup& node, std::size_t bytes) : bytes_(bytes) {
  const bool leads = node.rank() == 0;
  const auto now = std::chrono::steady_clock::now().time_since_epoch().count();
  std::string name = fmt::format("/athanor.{}.{:x}", ::getpid(), now);
  int file = -1;
  if (leads) {
    file = ::shm_open(name.c_str(), O_CREAT | O_EXCL | O_RDWR, S_IRUSR | S_IWUSR);
    if (file < 0) refusal_ = why("shm_open");
    if (file >= 0 && ::ftruncate(file, static_cast<off_t>(bytes)) != 0) refusal_ = why("ftruncate");
  }
  name = node.broadcast(name, 0);
  if (!leads) file = ::shm_open(name.c_str(), O_RDWR, 0);
  if (file < 0 && refusal_.empty()) refusal_ = why("shm_open");
  if (refusal_.empty()) map(file, "mmap");
  // Only after this has every rank opened it, or given up.
  std::string refusals;
  for (const std::string& text : node.all_gather(refusal_))
    if (refusals.empty()) refusals = text;
  if (leads) ::shm_unlink(name.c_str());
  if (file >= 0) ::close(file);
  refusal_ = refusals;
  if (refusal_.empty()) return;
  if (data_ != nullptr) ::munmap(data_, bytes_);
  data_ = nullptr;
  map(-1, "mmap of private memory");
  if (data_ == nullptr) throw Error(fmt::format("{} bytes for the record of collectives: {}", bytes, refusal_));
}

NodeMemory::~NodeMemory() { ::munmap(data_, bytes_); }

void NodeMemory::map(int file, const char* what) {
  const int flags = file >= 0 ? MAP_SHARED : MAP_PRIVATE | MAP_ANONYMOUS;
  void* place = ::mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, flags, file, 0);
  if (place == MAP_FAILED)
    refusal_ = why(what);
  else
    data_ = static_cast<std::byte*>(place);
}

}  // namespace athanor
