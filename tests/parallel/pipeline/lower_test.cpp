// Lowered programs, run by transports that do as little by themselves as possible.
#include "parallel/pipeline/lower.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>
#include <tuple>

#include "parallel/pipeline/validate.hpp"
#include "tests/parallel/pipeline/all_schedules.hpp"

namespace athanor {
namespace {

using Kind = Message::Kind;

/// A message by its receiving rank and what takes it: the same for both of its ends.
using Key = std::tuple<int, int, int, int>;
Key key_of(int rank, const Message& message) {
  const int to = message.kind == Kind::send ? message.peer : rank;
  return {to, static_cast<int>(message.taker.phase), message.taker.chunk, message.taker.micro_batch};
}

std::vector<PipelineSchedule> schedules() {
  auto all = testing::all_schedules({1, 2, 3, 4, 8}, {1, 2, 3, 5, 8, 16, 19});
  all.push_back(testing::odd_schedule());
  return all;
}

/// A rank's program as one list: messages (alone, or in their batches) and runs of actions.
struct Item {
  std::vector<Message> messages;  ///< empty: an action
};
std::vector<Item> items_of(const RankProgram& program, bool batched) {
  std::vector<Item> items;
  const auto add = [&](const std::vector<Message>& messages) {
    if (batched && !messages.empty()) items.push_back({messages});
    if (!batched)
      for (const Message& message : messages) items.push_back({{message}});
  };
  for (const Step& step : program.steps) {
    add(step.messages);
    items.push_back({});
  }
  add(program.last_messages);
  return items;
}

/// Runs all ranks with blocking messages: a send ends only when its receive has been reached, and the other way round;
/// a batch ends when all of its messages have. @returns the ranks that do not come to their end.
int stuck_ranks_when_blocking(const LoweredSchedule& lowered, bool batched) {
  std::vector<std::vector<Item>> items;
  for (const RankProgram& program : lowered.ranks) items.push_back(items_of(program, batched));
  std::vector<std::size_t> at(items.size(), 0);
  std::map<Key, int> reached;  // ends of a message that were reached: 2 = it has gone
  std::vector<bool> entered(items.size(), false);
  for (bool moved = true; moved;) {
    moved = false;
    for (std::size_t rank = 0; rank < items.size(); ++rank)
      while (at[rank] < items[rank].size()) {
        const auto& messages = items[rank][at[rank]].messages;
        if (!entered[rank]) {
          for (const Message& message : messages) ++reached[key_of(static_cast<int>(rank), message)];
          entered[rank] = true;
          moved = true;
        }
        const bool gone = std::all_of(messages.begin(), messages.end(), [&](const Message& message) {
          return reached[key_of(static_cast<int>(rank), message)] == 2;
        });
        if (!gone) break;
        ++at[rank];
        entered[rank] = false;
      }
  }
  int stuck = 0;
  for (std::size_t rank = 0; rank < items.size(); ++rank) stuck += at[rank] < items[rank].size() ? 1 : 0;
  return stuck;
}

// Blocking messages one at a time, and as batches, come to the end: nothing depends on what the transport does alone.
TEST(Lower, BlockingMessagesCannotDeadlock) {
  for (const PipelineSchedule& schedule : schedules()) {
    const LoweredSchedule lowered = lower(schedule);
    EXPECT_EQ(stuck_ranks_when_blocking(lowered, false), 0) << testing::shape_of(schedule);
    EXPECT_EQ(stuck_ranks_when_blocking(lowered, true), 0) << testing::shape_of(schedule);
  }
}

// As on a GPU: a queue of actions and a queue of batches on each rank, each in order; an action waits for its receives,
// a send for its action. They come to the end too.
TEST(Lower, QueuesInOrderCannotDeadlock) {
  for (const PipelineSchedule& schedule : schedules()) {
    const LoweredSchedule lowered = lower(schedule);
    struct Rank {
      std::vector<std::vector<Message>> batches;
      std::vector<std::size_t> actions_before;  // of each batch
      std::size_t batch = 0, action = 0;
    };
    std::vector<Rank> ranks;
    for (const RankProgram& program : lowered.ranks) {
      Rank rank;
      for (std::size_t step = 0; step <= program.steps.size(); ++step) {
        rank.batches.push_back(step < program.steps.size() ? program.steps[step].messages : program.last_messages);
        rank.actions_before.push_back(step);
      }
      ranks.push_back(rank);
    }
    std::set<Key> gone;
    const auto in_batch = [&](std::size_t rank, const Key& key) {
      const Rank& peer = ranks[rank];
      return peer.batch < peer.batches.size() &&
             std::any_of(peer.batches[peer.batch].begin(), peer.batches[peer.batch].end(),
                         [&](const Message& message) { return key_of(static_cast<int>(rank), message) == key; });
    };
    for (bool moved = true; moved;) {
      moved = false;
      for (std::size_t r = 0; r < ranks.size(); ++r) {
        Rank& rank = ranks[r];
        if (rank.batch < rank.batches.size()) {
          bool all_gone = true;
          for (const Message& message : rank.batches[rank.batch]) {
            const Key key = key_of(static_cast<int>(r), message);
            const Rank& sender = message.kind == Kind::send ? rank : ranks[static_cast<std::size_t>(message.peer)];
            if (!gone.contains(key) && in_batch(static_cast<std::size_t>(message.peer), key) &&
                sender.action >= sender.actions_before[sender.batch]) {
              gone.insert(key);
              moved = true;
            }
            all_gone = all_gone && gone.contains(key);
          }
          if (all_gone && rank.action >= rank.actions_before[rank.batch]) {
            ++rank.batch;
            moved = true;
          }
        }
        const auto& steps = lowered.ranks[r].steps;
        if (rank.action < steps.size()) {
          bool ready = true;
          for (const Part& part : parts_of(steps[rank.action].action)) {
            if (part.phase == Phase::W) continue;
            const int maker = part.phase == Phase::F ? part.chunk - 1 : part.chunk + 1;
            if (maker < 0 || maker >= schedule.num_chunks ||
                schedule.chunk_rank[static_cast<std::size_t>(maker)] == static_cast<int>(r))
              continue;
            ready = ready &&
                    gone.contains({static_cast<int>(r), static_cast<int>(part.phase), part.chunk, part.micro_batch});
          }
          if (ready) {
            ++rank.action;
            moved = true;
          }
        }
      }
    }
    for (std::size_t r = 0; r < ranks.size(); ++r)
      EXPECT_EQ(ranks[r].batch, ranks[r].batches.size()) << testing::shape_of(schedule) << " rank " << r;
  }
}

// Every tensor that crosses ranks is sent once, after the action that makes it, and received before the one that takes
// it; between two ranks, both sides name the messages in the same order.
TEST(Lower, MessagesAreCompleteAndOrdered) {
  for (const PipelineSchedule& schedule : schedules()) {
    const LoweredSchedule lowered = lower(schedule);
    std::map<std::pair<int, int>, std::vector<Key>> sent, received;  // by (from, to)
    int crossing = 0;
    for (int chunk = 0; chunk + 1 < schedule.num_chunks; ++chunk)
      if (schedule.chunk_rank[static_cast<std::size_t>(chunk)] !=
          schedule.chunk_rank[static_cast<std::size_t>(chunk) + 1])
        crossing += 2 * schedule.num_micro_batches;
    int sends = 0;
    for (int rank = 0; rank < schedule.num_ranks; ++rank) {
      std::set<Key> made, here;
      const auto take = [&](const std::vector<Message>& messages) {
        for (const Message& message : messages) {
          const Key key = key_of(rank, message);
          if (message.kind == Kind::send) {
            ++sends;
            sent[{rank, message.peer}].push_back(key);
            EXPECT_TRUE(made.contains(key)) << testing::shape_of(schedule);
            EXPECT_EQ(schedule.chunk_rank[static_cast<std::size_t>(message.taker.chunk)], message.peer);
          } else {
            received[{message.peer, rank}].push_back(key);
            here.insert(key);
          }
        }
      };
      const RankProgram& program = lowered.ranks[static_cast<std::size_t>(rank)];
      ASSERT_EQ(program.steps.size(), schedule.rank_programs[static_cast<std::size_t>(rank)].size());
      for (std::size_t s = 0; s < program.steps.size(); ++s) {
        take(program.steps[s].messages);
        EXPECT_EQ(program.steps[s].action, schedule.rank_programs[static_cast<std::size_t>(rank)][s]);
        for (const Part& part : parts_of(program.steps[s].action)) {
          if (part.phase == Phase::W) continue;
          const int step = part.phase == Phase::F ? 1 : -1;
          const int maker = part.chunk - step, taker = part.chunk + step;
          const auto owner = [&](int chunk) { return schedule.chunk_rank[static_cast<std::size_t>(chunk)]; };
          if (maker >= 0 && maker < schedule.num_chunks && owner(maker) != rank) {
            EXPECT_TRUE(here.contains({rank, static_cast<int>(part.phase), part.chunk, part.micro_batch}))
                << testing::shape_of(schedule) << " rank " << rank << " step " << s;
          }
          if (taker >= 0 && taker < schedule.num_chunks)
            made.insert({owner(taker), static_cast<int>(part.phase), taker, part.micro_batch});
        }
      }
      take(program.last_messages);
    }
    EXPECT_EQ(sends, crossing) << testing::shape_of(schedule);
    EXPECT_EQ(sent, received) << testing::shape_of(schedule);
  }
}

// A slot belongs to one micro-batch from F to W, and no chunk has more slots than it keeps micro-batches at once.
TEST(Lower, SlotsAreReused) {
  for (const PipelineSchedule& schedule : schedules()) {
    const LoweredSchedule lowered = lower(schedule);
    int total = 0;
    for (const RankProgram& program : lowered.ranks) {
      std::map<std::pair<int, int>, int> holder;  // (chunk, slot) -> micro-batch
      std::map<int, int> held, most;              // by chunk
      for (const Step& step : program.steps)
        for (const Part& part : parts_of(step.action)) {
          const bool second = step.action.phase == Phase::FB && part.phase != Phase::F;
          const std::pair<int, int> place{part.chunk, second ? step.slot_b : step.slot};
          if (part.phase == Phase::F) {
            EXPECT_FALSE(holder.contains(place)) << testing::shape_of(schedule);
            holder[place] = part.micro_batch;
            most[part.chunk] = std::max(most[part.chunk], ++held[part.chunk]);
          }
          EXPECT_EQ(holder[place], part.micro_batch) << testing::shape_of(schedule);
          if (part.phase == Phase::W) {
            holder.erase(place);
            --held[part.chunk];
          }
        }
      for (const auto& [chunk, count] : most) {
        EXPECT_EQ(lowered.num_slots[static_cast<std::size_t>(chunk)], count) << testing::shape_of(schedule);
        total += count;
      }
    }
    EXPECT_GT(total, 0);
  }
  EXPECT_EQ(lower(make_1f1b(4, 32)).num_slots, (std::vector<int>{4, 3, 2, 1}));
}

// On one rank nothing is sent.
TEST(Lower, OneRankHasNoMessages) {
  for (const PipelineSchedule& schedule : testing::all_schedules({1}, {1, 4})) {
    const LoweredSchedule lowered = lower(schedule);
    for (const Step& step : lowered.ranks[0].steps) EXPECT_TRUE(step.messages.empty());
    EXPECT_TRUE(lowered.ranks[0].last_messages.empty());
  }
}

}  // namespace
}  // namespace athanor
