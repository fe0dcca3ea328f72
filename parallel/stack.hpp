// The stack of the main thread, taken by another thread of the same process: where a rank that does not arrive is.
// Law: a signal of our own stops the main thread for as long as it takes to note return addresses; names are looked up
// by the thread that asks. Works while the main thread computes, waits or sleeps; not in a process that is stopped.
#pragma once

#include <string>
#include <vector>

namespace athanor {

class MainThreadStack {
 public:
  /// To be made by the main thread. One at a time.
  MainThreadStack();
  ~MainThreadStack();
  MainThreadStack(const MainThreadStack&) = delete;
  MainThreadStack& operator=(const MainThreadStack&) = delete;

  /// Functions, innermost first, at most `most` of them, those of libraries by their file. Empty when the main thread
  /// did not answer within a second.
  std::vector<std::string> take(std::size_t most = 16) const;
};

}  // namespace athanor
