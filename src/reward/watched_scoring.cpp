#include "src/reward/watched_scoring.hpp"

#include <fmt/format.h>

#include <chrono>
#include <cmath>
#include <condition_variable>
#include <mutex>
#include <thread>

#include "src/base/error.hpp"

namespace athanor {
namespace {
using Clock = std::chrono::steady_clock;

RewardPart checked(RewardScore score) {
  if (!score.value) return {std::nullopt, RewardFault::cannot_score, std::move(score.remark)};
  if (!std::isfinite(*score.value)) return {std::nullopt, RewardFault::not_finite, "the score is not finite"};
  return {score.value, RewardFault::none, std::move(score.remark)};
}

RewardPart thrown() {
  try {
    throw;
  } catch (const std::exception& error) {
    return {std::nullopt, RewardFault::threw, error.what()};
  } catch (...) {
    return {std::nullopt, RewardFault::threw, "an unknown exception"};
  }
}

/// One call: of `score` for one sample, or of `score_group` for all.
struct Call {
  std::size_t member;
  std::size_t first, count;
};

std::vector<RewardPart> parts_of(const Reward& reward, std::span<const RewardSample> samples) {
  std::vector<RewardPart> parts;
  try {
    if (reward.needs_group()) {
      auto scores = reward.score_group(samples);
      if (scores.size() != samples.size())
        throw Error(fmt::format("gave {} scores for a group of {}", scores.size(), samples.size()));
      for (auto& score : scores) parts.push_back(checked({score, {}}));
    } else {
      parts.push_back(checked(reward.evaluate(samples.front())));
    }
  } catch (...) {
    parts.assign(samples.size(), thrown());
  }
  return parts;
}

/// What the threads share; lives until the last of them, left behind or not, is done with it.
struct Work {
  std::vector<RewardSet::Member> members;
  std::vector<RewardSample> samples;
  std::vector<Call> calls;

  std::mutex mutex;
  std::condition_variable moved;
  std::size_t next = 0;  ///< the call under way; calls.size(): all done
  int generation = 0;    ///< of the thread whose results count
  Clock::time_point begun = Clock::now();
  std::vector<std::vector<RewardPart>> parts;
};

void go_on(const std::shared_ptr<Work>& work, int generation) {
  std::unique_lock lock(work->mutex);
  while (work->generation == generation && work->next < work->calls.size()) {
    const Call call = work->calls[work->next];
    work->begun = Clock::now();
    lock.unlock();
    auto parts = parts_of(*work->members[call.member].reward, std::span(work->samples).subspan(call.first, call.count));
    lock.lock();
    if (work->generation != generation) return;
    std::move(parts.begin(), parts.end(), work->parts[call.member].begin() + static_cast<std::ptrdiff_t>(call.first));
    ++work->next;
  }
  work->moved.notify_all();
}

/// Gives up the call under way. `lock` holds work.mutex.
void give_up(Work& work, double limit_seconds) {
  const Call call = work.calls[work.next++];
  ++work.generation;
  for (std::size_t i = call.first; i < call.first + call.count; ++i)
    work.parts[call.member][i] = {
        std::nullopt, RewardFault::timed_out,
        fmt::format("reward {} gave no score within {} s for completion {} of {} of prompt {}",
                    work.members[call.member].name, limit_seconds, i + 1, work.samples.size(),
                    work.samples[i].prompt_id)};
}

}  // namespace

std::vector<std::vector<RewardPart>> watched_scores(const std::vector<RewardSet::Member>& members,
                                                    std::span<const RewardSample> group, double limit_seconds) {
  const auto work = std::make_shared<Work>();
  work->members = members;
  work->samples.assign(group.begin(), group.end());
  work->parts.assign(members.size(), std::vector<RewardPart>(group.size()));
  for (std::size_t m = 0; m < members.size() && !group.empty(); ++m) {
    if (members[m].reward->needs_group()) {
      work->calls.push_back({m, 0, group.size()});
    } else {
      for (std::size_t i = 0; i < group.size(); ++i) work->calls.push_back({m, i, 1});
    }
  }
  const auto limit = std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(limit_seconds));
  std::unique_lock lock(work->mutex);
  while (work->next < work->calls.size()) {
    const int generation = work->generation;
    work->begun = Clock::now();
    std::thread thread([work, generation] { go_on(work, generation); });
    while (work->next < work->calls.size() && work->generation == generation) {
      const bool bounds_itself = members[work->calls[work->next].member].reward->bounds_its_time();
      work->moved.wait_until(lock, bounds_itself ? Clock::now() + limit : work->begun + limit);
      if (work->next == work->calls.size()) break;
      // Looked up again: the thread may be at another call by now.
      const bool over = Clock::now() >= work->begun + limit;
      if (over && !members[work->calls[work->next].member].reward->bounds_its_time()) give_up(*work, limit_seconds);
    }
    if (work->generation == generation) {
      lock.unlock();
      thread.join();
      lock.lock();
    } else {
      thread.detach();
    }
  }
  return std::move(work->parts);
}

}  // namespace athanor
