#include "parallel/stack.hpp"

#include <cxxabi.h>
#include <dlfcn.h>
#include <execinfo.h>
#include <fmt/format.h>
#include <pthread.h>
#include <signal.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <thread>

namespace athanor {
namespace {

int stack_signal() { return SIGRTMIN + 5; }

// What the handler touches.
std::array<void*, 64> g_frames;
std::atomic<int> g_count{-1};
static_assert(std::atomic<int>::is_always_lock_free);
pthread_t g_main;

void note_frames(int) { g_count = ::backtrace(g_frames.data(), static_cast<int>(g_frames.size())); }

std::string name_of(void* address) {
  Dl_info info{};
  if (::dladdr(address, &info) == 0) return fmt::format("{}", address);
  const std::string file = std::filesystem::path(info.dli_fname == nullptr ? "?" : info.dli_fname).filename();
  if (info.dli_sname == nullptr) return file;
  int status = 0;
  const std::unique_ptr<char, decltype(&std::free)> plain(
      abi::__cxa_demangle(info.dli_sname, nullptr, nullptr, &status), &std::free);
  std::string name = status == 0 && plain ? plain.get() : info.dli_sname;
  // Arguments say little and are long.
  if (const auto parenthesis = name.find('('); parenthesis != std::string::npos && parenthesis > 0)
    name.resize(parenthesis);
  return name;
}

}  // namespace

MainThreadStack::MainThreadStack() {
  g_main = ::pthread_self();
  // The first call loads a library, which a handler must not.
  std::array<void*, 1> first{};
  ::backtrace(first.data(), 1);
  struct sigaction action {};
  action.sa_handler = note_frames;
  action.sa_flags = SA_RESTART;
  ::sigaction(stack_signal(), &action, nullptr);
}

MainThreadStack::~MainThreadStack() { ::signal(stack_signal(), SIG_IGN); }

std::vector<std::string> MainThreadStack::take(std::size_t most) const {
  g_count = -1;
  std::vector<std::string> names;
  if (::pthread_kill(g_main, stack_signal()) != 0) return names;
  for (int wait = 0; wait < 100 && g_count < 0; ++wait) std::this_thread::sleep_for(std::chrono::milliseconds(10));
  // The first two are the handler and the return from it.
  for (int i = 2; i < g_count && names.size() < most; ++i) {
    std::string name = name_of(g_frames[static_cast<std::size_t>(i)]);
    if (names.empty() || names.back() != name) names.push_back(std::move(name));
  }
  return names;
}

}  // namespace athanor
