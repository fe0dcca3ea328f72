#include "parallel/fault.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <thread>

#include "src/base/error.hpp"

namespace athanor {
namespace {

constexpr std::array<std::string_view, 6> kKinds = {"throw", "kill", "stop", "hang", "delay", "nan"};

std::string_view name_of(Fault::Kind kind) { return kKinds[static_cast<std::size_t>(kind)]; }

void sleep_for(double seconds) { std::this_thread::sleep_for(std::chrono::duration<double>(seconds)); }

}  // namespace

Fault parse_fault(std::string_view text) {
  const auto refuse = [&](const std::string& why) {
    return ConfigError(fmt::format(
        "parallel.fault = '{}': {}; write throw@, kill@, stop@, hang@, delay@ or nan@ and then axis=NAME or phase=NAME "
        "(nan: neither) and, where wanted, rank=N, step=N, call=N, seconds=S with colons between, as in "
        "throw@rank=1:axis=ep:step=3:call=2",
        text, why));
  };
  Fault fault;
  const std::size_t at = text.find('@');
  const auto kind = std::find(kKinds.begin(), kKinds.end(), text.substr(0, at));
  if (at == std::string_view::npos || kind == kKinds.end()) throw refuse("it begins with no kind of fault and @");
  fault.kind = static_cast<Fault::Kind>(kind - kKinds.begin());
  for (std::string_view rest = text.substr(at + 1); !rest.empty();) {
    const std::string_view part = rest.substr(0, rest.find(':'));
    rest.remove_prefix(std::min(rest.size(), part.size() + 1));
    const std::size_t equals = part.find('=');
    if (equals == std::string_view::npos) throw refuse(fmt::format("'{}' is not NAME=VALUE", part));
    const std::string_view name = part.substr(0, equals), value = part.substr(equals + 1);
    if (name == "axis") {
      fault.axis = value;
      continue;
    }
    if (name == "phase") {
      fault.phase = job_phase_from_string(value);
      if (!fault.phase)
        throw refuse(fmt::format("'{}' is no phase; choose one of {}", value, fmt::join(kJobPhaseNames, ", ")));
      continue;
    }
    double number = -1.0;
    const auto read = std::from_chars(value.data(), value.data() + value.size(), number);
    const bool whole = number == static_cast<double>(static_cast<std::int64_t>(number));
    if (read.ec != std::errc{} || read.ptr != value.data() + value.size() ||
        (name == "seconds" ? number <= 0.0 : !whole || number < (name == "rank" ? 0.0 : 1.0)))
      throw refuse(fmt::format("'{}' is no {}", value, name == "rank" ? "rank" : "number from 1"));
    if (name == "rank")
      fault.rank = static_cast<int>(number);
    else if (name == "step")
      fault.step = static_cast<std::int64_t>(number);
    else if (name == "call")
      fault.call = static_cast<std::int64_t>(number);
    else if (name == "seconds")
      fault.seconds = number;
    else
      throw refuse(fmt::format("'{}' is none of rank, axis, phase, step, call, seconds", name));
  }
  const int places = (fault.axis.empty() ? 0 : 1) + (fault.phase ? 1 : 0);
  if (places != (fault.kind == Fault::Kind::nan ? 0 : 1))
    throw refuse(fault.kind == Fault::Kind::nan ? "nan has neither axis nor phase" : "one axis or phase is wanted");
  return fault;
}

std::string to_string(const Fault& fault) {
  std::string place;
  if (fault.phase) place = fmt::format(":phase={}:call={}", to_string(*fault.phase), fault.call);
  if (!fault.axis.empty()) place = fmt::format(":axis={}:step={}:call={}", fault.axis, fault.step, fault.call);
  if (fault.kind == Fault::Kind::nan) place = fmt::format(":step={}", fault.step);
  if (fault.kind == Fault::Kind::delay) place += fmt::format(":seconds={:g}", fault.seconds);
  return fmt::format("{}@rank={}{}", name_of(fault.kind), fault.rank, place);
}

void happen(const Fault& fault) {
  switch (fault.kind) {
    case Fault::Kind::throw_error:
      throw Error("a fault made on purpose (parallel.fault = " + to_string(fault) + ")");
    case Fault::Kind::kill:
      ::kill(::getpid(), SIGKILL);
      break;
    case Fault::Kind::stop:
      ::kill(::getpid(), SIGSTOP);
      break;
    case Fault::Kind::hang:
      while (true) sleep_for(1.0);
    case Fault::Kind::delay:
      sleep_for(fault.seconds);
      break;
    case Fault::Kind::nan:
      break;
  }
}

}  // namespace athanor
