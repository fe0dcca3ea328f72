#include "tests/parallel/nccl/simulated_device.hpp"

#include <sched.h>

#include <algorithm>
#include <utility>

#include "src/base/error.hpp"

namespace athanor::testing {

class SimulatedDevice::Queue final : public Stream {
 public:
  explicit Queue(SimulatedDevice& device) : device_(device) { device_.queues_.push_back(this); }
  ~Queue() override { std::erase(device_.queues_, this); }
  void synchronize() override {
    while (!work_.empty()) {
      device_.turn();
      ::sched_yield();
    }
  }
  void enqueue_host(std::function<void()> work) override {
    push([work = std::move(work)] {
      work();
      return true;
    });
  }
  void record(Event&) override { throw Error("simulated device: use marks"); }
  void wait(const Event&) override { throw Error("simulated device: use marks"); }

  bool idle() const { return work_.empty(); }
  void push(Turn turn) { work_.push_back(std::move(turn)); }
  void turn() {
    if (work_.empty() || is_in_turn_) return;
    is_in_turn_ = true;
    const bool done = work_.front()();
    is_in_turn_ = false;
    if (done) work_.pop_front();
  }

 private:
  SimulatedDevice& device_;
  std::deque<Turn> work_;
  bool is_in_turn_ = false;
};

class SimulatedDevice::Mark final : public NcclMark {
 public:
  void record(Stream& stream) override {
    const std::int64_t number = ++*recorded_;
    static_cast<Queue&>(stream).push([passed = passed_, number] {
      *passed = number;
      return true;
    });
  }
  bool passed() const override { return *recorded_ > 0 && *passed_ >= *recorded_; }
  void hold(Stream& stream) const override {
    static_cast<Queue&>(stream).push([passed = passed_, number = recorded_->load()] { return *passed >= number; });
  }

 private:
  using Count = std::atomic<std::int64_t>;
  std::shared_ptr<Count> recorded_ = std::make_shared<Count>(0), passed_ = std::make_shared<Count>(0);
};

std::unique_ptr<Stream> SimulatedDevice::make_stream() { return std::make_unique<Queue>(*this); }
std::unique_ptr<NcclMark> SimulatedDevice::make_mark() { return std::make_unique<Mark>(); }
void SimulatedDevice::enqueue(Stream& stream, Turn turn) { static_cast<Queue&>(stream).push(std::move(turn)); }

void SimulatedDevice::turn() {
  for (Queue* queue : std::vector<Queue*>(queues_)) queue->turn();
}

void SimulatedDevice::drain() {
  for (Queue* queue : std::vector<Queue*>(queues_))
    while (!queue->idle()) queue->synchronize();
}

}  // namespace athanor::testing
