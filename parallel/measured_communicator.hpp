// A Communicator that adds up the time its calls take on the calling thread, records which one is under way and shows
// each as a span to who watches. Law of
// time: where a stream runs at once (the CPU) that is what communication costs, waiting for the others included; where
// it does not, it is what enqueuing costs. The record follows the stream and names the call that runs; with records
// kept at the call (a GPU, whose streams run host work on a thread of their own, while records have one writer) it
// names the newest call that was enqueued.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <string_view>

#include "parallel/collective_log.hpp"
#include "src/backend/communicator.hpp"
#include "src/backend/stream_span.hpp"

namespace athanor {

struct CommunicationTime {
  double seconds = 0.0;
  std::int64_t calls = 0;
};

class MeasuredCommunicator final : public Communicator {
 public:
  /// All must outlive this. @param log  null: nothing is recorded.   @param name  of the group in records, a literal.
  /// @param record_at_call  else where the stream runs it.   @param members  of the group; null: not known.
  MeasuredCommunicator(Communicator& inner, CommunicationTime& time, CollectiveLog* log = nullptr,
                       std::string_view name = {}, bool record_at_call = false, const GroupMembers* members = nullptr)
      : inner_(inner), time_(time), log_(log), name_(name), record_at_call_(record_at_call), members_(members) {}

  int rank() const override { return inner_.rank(); }
  int size() const override { return inner_.size(); }
  void all_reduce(Tensor inout, ReduceOp op, Stream& stream) override {
    const Guard guard(*this, stream, call(Operation::all_reduce, inout), inout.bytes());
    inner_.all_reduce(std::move(inout), op, stream);
  }
  void reduce_scatter(Tensor out, const Tensor& in, ReduceOp op, Stream& stream) override {
    const Guard guard(*this, stream, call(Operation::reduce_scatter, in), in.bytes());
    inner_.reduce_scatter(std::move(out), in, op, stream);
  }
  void all_gather(Tensor out, const Tensor& in, Stream& stream) override {
    const Guard guard(*this, stream, call(Operation::all_gather, in), in.bytes());
    inner_.all_gather(std::move(out), in, stream);
  }
  void all_to_all_v(Tensor out, std::span<const std::int64_t> recv_rows, const Tensor& in,
                    std::span<const std::int64_t> send_rows, Stream& stream) override {
    const Guard guard(*this, stream, call(Operation::all_to_all_v, in), in.bytes());
    inner_.all_to_all_v(std::move(out), recv_rows, in, send_rows, stream);
  }
  void broadcast(Tensor inout, int root, Stream& stream) override {
    const Guard guard(*this, stream, call(Operation::broadcast, inout), inout.bytes());
    inner_.broadcast(std::move(inout), root, stream);
  }
  void exchange(std::span<const P2p> messages, Stream& stream) override {
    const Guard guard(*this, stream, call(Operation::exchange, messages), bytes_of(messages));
    inner_.exchange(messages, stream);
  }
  Ticket start_exchange(std::span<const P2p> messages, Stream& stream) override {
    const Guard guard(*this, stream, call(Operation::start_exchange, messages), bytes_of(messages));
    const Ticket first = inner_.start_exchange(messages, stream);
    for (std::size_t i = 0; i < messages.size(); ++i) {
      const Ticket ticket = first + static_cast<Ticket>(i);
      started_[static_cast<std::size_t>(ticket) % started_.size()] = {ticket, messages[i].tensor.dtype(),
                                                                      messages[i].tensor.numel(), messages[i].peer};
    }
    return first;
  }
  void finish_receive(Ticket ticket, Stream& stream) override {
    CollectiveCall finish = call(Operation::finish_receive, std::span<const P2p>{});
    if (const Started& message = started_[static_cast<std::size_t>(ticket) % started_.size()];
        message.ticket == ticket) {
      finish.dtype = message.dtype;
      finish.count = message.count;
      finish.peer = message.peer;
    }
    const Guard guard(*this, stream, finish, static_cast<std::size_t>(finish.count) * size_bytes(finish.dtype));
    inner_.finish_receive(ticket, stream);
  }
  void finish_sends(Stream& stream) override {
    const Guard guard(*this, stream, call(Operation::finish_sends, std::span<const P2p>{}), 0);
    inner_.finish_sends(stream);
  }

 private:
  /// A message under way, as far as it is recorded.
  struct Started {
    Ticket ticket = -1;
    DType dtype = DType::u8;
    std::int64_t count = 0;
    int peer = -1;
  };

  /// Times a call, and marks it in the log where the stream does it.
  class Guard {
   public:
    /// @param bytes  of all messages of the call.
    Guard(MeasuredCommunicator& owner, Stream& stream, const CollectiveCall& call, std::size_t bytes)
        : owner_(owner),
          stream_(stream),
          span_(&stream, SpanKind::communication, to_string(call.operation), call.group,
                {{"bytes", static_cast<std::int64_t>(bytes)}, {"number", call.number}, {"peer", call.peer}}) {
      if (owner_.log_ == nullptr) return;
      if (owner_.record_at_call_)
        owner_.log_->begin(call);
      else
        run_on(stream_, [log = owner_.log_, call] { log->begin(call); });
    }
    ~Guard() {
      if (owner_.log_ != nullptr && owner_.record_at_call_) owner_.log_->end();
      if (owner_.log_ != nullptr && !owner_.record_at_call_) run_on(stream_, [log = owner_.log_] { log->end(); });
      owner_.time_.seconds += std::chrono::duration<double>(std::chrono::steady_clock::now() - begin_).count();
      ++owner_.time_.calls;
    }
    Guard(const Guard&) = delete;
    Guard& operator=(const Guard&) = delete;

   private:
    MeasuredCommunicator& owner_;
    Stream& stream_;
    StreamSpan span_;  ///< closed last: what the log marks lies in it
    std::chrono::steady_clock::time_point begin_ = std::chrono::steady_clock::now();
  };

  CollectiveCall call(Operation operation, const Tensor& tensor) {
    return {.operation = operation,
            .group = name_,
            .number = ++calls_,
            .dtype = tensor.dtype(),
            .count = tensor.numel(),
            .members = members_};
  }
  static std::size_t bytes_of(std::span<const P2p> messages) {
    std::size_t bytes = 0;
    for (const P2p& message : messages) bytes += message.tensor.bytes();
    return bytes;
  }
  /// The first message stands for all.
  CollectiveCall call(Operation operation, std::span<const P2p> messages) {
    CollectiveCall result{.operation = operation, .group = name_, .number = ++calls_, .members = members_};
    if (messages.empty()) return result;
    result.dtype = messages.front().tensor.dtype();
    result.count = messages.front().tensor.numel();
    result.peer = messages.front().peer;
    return result;
  }

  Communicator& inner_;
  CommunicationTime& time_;
  CollectiveLog* log_;
  std::string_view name_;
  bool record_at_call_;
  const GroupMembers* members_;
  std::int64_t calls_ = 0;
  std::array<Started, 256> started_;  ///< by ticket; enough for what a pipeline has under way
};

}  // namespace athanor
