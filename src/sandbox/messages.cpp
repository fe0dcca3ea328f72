#include "src/sandbox/messages.hpp"

#include <cstring>
#include <limits>

#include "src/base/error.hpp"

namespace athanor {
namespace {

class Writer {
 public:
  template <class Number>
  void number(Number value) {
    static_assert(std::is_trivially_copyable_v<Number>);
    const auto at = bytes_.size();
    bytes_.resize(at + sizeof value);
    std::memcpy(bytes_.data() + at, &value, sizeof value);
  }
  void text(std::string_view value) {
    number(static_cast<std::uint64_t>(value.size()));
    bytes_.append(value);
  }
  std::string finish() {
    const std::size_t body = bytes_.size() - sizeof(std::uint32_t);
    if (body > std::numeric_limits<std::uint32_t>::max())
      throw Error("sandbox: a message of " + std::to_string(body) + " bytes, at most 4 GiB go through the socket");
    const auto length = static_cast<std::uint32_t>(body);
    std::memcpy(bytes_.data(), &length, sizeof length);
    return std::move(bytes_);
  }

 private:
  std::string bytes_ = std::string(sizeof(std::uint32_t), '\0');
};

class Reader {
 public:
  explicit Reader(std::string_view bytes) : bytes_(bytes) {}
  template <class Number>
  Number number() {
    need(sizeof(Number));
    Number value;
    std::memcpy(&value, bytes_.data(), sizeof value);
    bytes_.remove_prefix(sizeof value);
    return value;
  }
  std::string text() {
    const auto size = number<std::uint64_t>();
    need(size);
    std::string value(bytes_.substr(0, size));
    bytes_.remove_prefix(size);
    return value;
  }

 private:
  void need(std::uint64_t size) const {
    if (size > bytes_.size())
      throw Error("sandbox: a message ends early: " + std::to_string(size) + " bytes wanted, " +
                  std::to_string(bytes_.size()) + " left");
  }
  std::string_view bytes_;
};

}  // namespace

std::string frame(const Request& request) {
  Writer writer;
  const SandboxLimits& limits = request.program.limits;
  writer.number(request.id);
  writer.number(request.program.kind);
  writer.number(limits.cpu_seconds);
  writer.number(limits.wall_seconds);
  writer.number(limits.memory_bytes);
  writer.number(limits.scratch_bytes);
  writer.number(limits.output_bytes);
  writer.number(limits.max_processes);
  writer.number(limits.max_threads);
  writer.text(request.program.source);
  writer.number(static_cast<std::uint64_t>(request.program.inputs.size()));
  for (const std::string& input : request.program.inputs) writer.text(input);
  return writer.finish();
}

Request parse_request(std::string_view body) {
  Reader reader(body);
  Request request;
  SandboxLimits& limits = request.program.limits;
  request.id = reader.number<std::uint64_t>();
  request.program.kind = reader.number<ProgramKind>();
  limits.cpu_seconds = reader.number<double>();
  limits.wall_seconds = reader.number<double>();
  limits.memory_bytes = reader.number<std::uint64_t>();
  limits.scratch_bytes = reader.number<std::uint64_t>();
  limits.output_bytes = reader.number<std::uint64_t>();
  limits.max_processes = reader.number<std::uint32_t>();
  limits.max_threads = reader.number<std::uint32_t>();
  request.program.source = reader.text();
  const auto inputs = reader.number<std::uint64_t>();
  for (std::uint64_t i = 0; i < inputs; ++i) request.program.inputs.push_back(reader.text());
  return request;
}

std::string frame(const Report& report) {
  Writer writer;
  writer.number(report.id);
  writer.number(report.index);
  writer.number(report.run.status);
  writer.number(report.run.exit_code);
  writer.number(report.run.wall_seconds);
  writer.text(report.run.output);
  writer.text(report.run.message);
  return writer.finish();
}

Report parse_report(std::string_view body) {
  Reader reader(body);
  Report report;
  report.id = reader.number<std::uint64_t>();
  report.index = reader.number<std::int64_t>();
  report.run.status = reader.number<RunStatus>();
  report.run.exit_code = reader.number<std::int32_t>();
  report.run.wall_seconds = reader.number<double>();
  report.run.output = reader.text();
  report.run.message = reader.text();
  return report;
}

std::optional<std::string> take_frame(std::string& bytes) {
  std::uint32_t length = 0;
  if (bytes.size() < sizeof length) return std::nullopt;
  std::memcpy(&length, bytes.data(), sizeof length);
  if (bytes.size() - sizeof length < length) return std::nullopt;
  std::string body = bytes.substr(sizeof length, length);
  bytes.erase(0, sizeof length + length);
  return body;
}

}  // namespace athanor
