// A device of the host's memory whose streams run beside each other, as those of a GPU do: work waits in queues and
// goes on, all queues in turn, while the host synchronizes any of them. One thread; work may take several turns. For
// tests of what must not depend on the order in which streams run.
#pragma once

#include <atomic>
#include <deque>
#include <functional>
#include <memory>
#include <vector>

#include "parallel/nccl/nccl_api.hpp"

namespace athanor::testing {

class SimulatedDevice {
 public:
  /// One turn of a piece of work; true when it is done.
  using Turn = std::function<bool()>;

  std::unique_ptr<Stream> make_stream();
  std::unique_ptr<NcclMark> make_mark();
  void enqueue(Stream& stream, Turn turn);
  /// One turn for the first work of every stream.
  void turn();
  /// Goes on until no stream has work left.
  void drain();

 private:
  class Queue;
  class Mark;
  std::vector<Queue*> queues_;
};

}  // namespace athanor::testing
