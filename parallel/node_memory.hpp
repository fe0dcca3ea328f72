// Memory that the ranks of one machine share, zeroed at first. Law: it holds only what may be read while it is written
// (lock-free atomics, which have no address of their own). Its name is gone as soon as all have it open, so nothing is
// left behind, however the job ends.
#pragma once

#include <cstddef>
#include <string>

#include "parallel/host_group.hpp"

namespace athanor {

class NodeMemory {
 public:
  /// Collective over `node`, ranks that run on one machine. Where the system refuses (no /dev/shm in common, say), each
  /// rank has memory of its own instead and refusal() says why.
  NodeMemory(HostGroup& node, std::size_t bytes);
  ~NodeMemory();
  NodeMemory(const NodeMemory&) = delete;
  NodeMemory& operator=(const NodeMemory&) = delete;

  std::byte* data() const { return data_; }
  bool is_shared() const { return refusal_.empty(); }
  const std::string& refusal() const { return refusal_; }

 private:
  void map(int file, const char* what);

  std::byte* data_ = nullptr;
  std::size_t bytes_;
  std::string refusal_;
};

}  // namespace athanor
