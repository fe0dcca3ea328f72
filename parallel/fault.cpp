#include "parallel/fault.hpp"

#include <fmt/format.h>

#include <charconv>

#include "src/base/error.hpp"

namespace athanor {

Fault parse_fault(std::string_view text) {
  const auto refuse = [&](const std::string& why) {
    return ConfigError(fmt::format(
        "parallel.fault = '{}': {}; write throw@ or kill@ and then axis=NAME and, where wanted, rank=N, step=N, call=N "
        "with colons between, as in throw@rank=1:axis=ep:step=3:call=2",
        text, why));
  };
  Fault fault;
  const std::size_t at = text.find('@');
  const std::string_view kind = text.substr(0, at);
  if (at == std::string_view::npos || (kind != "throw" && kind != "kill"))
    throw refuse("it begins with neither throw@ nor kill@");
  fault.kind = kind == "kill" ? Fault::Kind::kill : Fault::Kind::throw_error;
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
    std::int64_t number = -1;
    const auto read = std::from_chars(value.data(), value.data() + value.size(), number);
    if (read.ec != std::errc{} || read.ptr != value.data() + value.size() || number < (name == "rank" ? 0 : 1))
      throw refuse(fmt::format("'{}' is no {}", value, name == "rank" ? "rank" : "number from 1"));
    if (name == "rank")
      fault.rank = static_cast<int>(number);
    else if (name == "step")
      fault.step = number;
    else if (name == "call")
      fault.call = number;
    else
      throw refuse(fmt::format("'{}' is none of rank, axis, step, call", name));
  }
  if (fault.axis.empty()) throw refuse("no axis is named");
  return fault;
}

std::string to_string(const Fault& fault) {
  return fmt::format("{}@rank={}:axis={}:step={}:call={}", fault.kind == Fault::Kind::kill ? "kill" : "throw",
                     fault.rank, fault.axis, fault.step, fault.call);
}

}  // namespace athanor
