// A Communicator that adds up the time its calls take on the calling thread. Law: where a stream runs at once (the CPU)
// that is what communication costs, waiting for the others included; where it does not, it is what enqueuing costs.
#pragma once

#include <chrono>
#include <cstdint>

#include "src/backend/communicator.hpp"

namespace athanor {

struct CommunicationTime {
  double seconds = 0.0;
  std::int64_t calls = 0;
};

class MeasuredCommunicator final : public Communicator {
 public:
  /// Both must outlive this.
  MeasuredCommunicator(Communicator& inner, CommunicationTime& time) : inner_(inner), time_(time) {}

  int rank() const override { return inner_.rank(); }
  int size() const override { return inner_.size(); }
  void all_reduce(Tensor inout, ReduceOp op, Stream& stream) override {
    const Timer timer(time_);
    inner_.all_reduce(std::move(inout), op, stream);
  }
  void reduce_scatter(Tensor out, const Tensor& in, ReduceOp op, Stream& stream) override {
    const Timer timer(time_);
    inner_.reduce_scatter(std::move(out), in, op, stream);
  }
  void all_gather(Tensor out, const Tensor& in, Stream& stream) override {
    const Timer timer(time_);
    inner_.all_gather(std::move(out), in, stream);
  }
  void all_to_all_v(Tensor out, std::span<const std::int64_t> recv_rows, const Tensor& in,
                    std::span<const std::int64_t> send_rows, Stream& stream) override {
    const Timer timer(time_);
    inner_.all_to_all_v(std::move(out), recv_rows, in, send_rows, stream);
  }
  void broadcast(Tensor inout, int root, Stream& stream) override {
    const Timer timer(time_);
    inner_.broadcast(std::move(inout), root, stream);
  }
  void exchange(std::span<const P2p> messages, Stream& stream) override {
    const Timer timer(time_);
    inner_.exchange(messages, stream);
  }
  Ticket start_exchange(std::span<const P2p> messages, Stream& stream) override {
    const Timer timer(time_);
    return inner_.start_exchange(messages, stream);
  }
  void finish_receive(Ticket ticket, Stream& stream) override {
    const Timer timer(time_);
    inner_.finish_receive(ticket, stream);
  }
  void finish_sends(Stream& stream) override {
    const Timer timer(time_);
    inner_.finish_sends(stream);
  }

 private:
  class Timer {
   public:
    explicit Timer(CommunicationTime& time) : time_(time) {}
    ~Timer() {
      time_.seconds += std::chrono::duration<double>(std::chrono::steady_clock::now() - begin_).count();
      ++time_.calls;
    }
    Timer(const Timer&) = delete;
    Timer& operator=(const Timer&) = delete;

   private:
    CommunicationTime& time_;
    std::chrono::steady_clock::time_point begin_ = std::chrono::steady_clock::now();
  };

  Communicator& inner_;
  CommunicationTime& time_;
};

}  // namespace athanor
