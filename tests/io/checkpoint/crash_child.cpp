// The process that crash_test kills: goes on from the newest checkpoint, checks it, and saves step after step.
// Usage: io_checkpoint_crash_child FOLDER. Prints a line "loaded N" (-1: none) once and "saved N" after each finished
// save, unbuffered, so that the parent knows what may not be lost. Ends with status 3 when a loaded value is wrong.
#include <unistd.h>

#include <cstdio>
#include <vector>

#include "io/checkpoint/checkpoint_store.hpp"
#include "parallel/mpi/mpi_session.hpp"

namespace athanor {
namespace {

constexpr std::int64_t kElements = 300000;

float value_of(std::int64_t step, std::int64_t element) { return static_cast<float>(step * 7 + element % 1000); }

void say(const char* what, std::int64_t step) {
  char line[64];
  const int length = std::snprintf(line, sizeof line, "%s %lld\n", what, static_cast<long long>(step));
  if (::write(STDOUT_FILENO, line, static_cast<std::size_t>(length)) != length) std::_Exit(4);
}

std::vector<float> values_of(std::int64_t step) {
  std::vector<float> values(kElements);
  for (std::int64_t i = 0; i < kElements; ++i) values[static_cast<std::size_t>(i)] = value_of(step, i);
  return values;
}

int run(const char* folder) {
  auto ranks = HostGroup::self();
  const auto ops = make_backend("cpu");
  const auto stream = ops->make_stream();
  // Three tensors, so that a save has several pieces to be killed between.
  std::vector<NamedShard> shards;
  for (const char* name : {"model/w", "optimizer/m/w", "optimizer/v/w"})
    shards.push_back({whole(name, DType::f32, {kElements}), ops->empty({kElements}, DType::f32), true});

  CheckpointStore store(folder, ranks, *ops, {.keep_last = 1});
  const auto loaded = store.load_latest(shards, *stream);
  std::int64_t step = loaded ? loaded->step : -1;
  if (loaded) {
    std::vector<float> found(kElements);
    for (const NamedShard& shard : shards) {
      ops->download(std::as_writable_bytes(std::span(found)), shard.local, *stream);
      stream->synchronize();
      if (found != values_of(step)) return 3;
    }
  }
  say("loaded", step);
  for (RunState state; true;) {
    state.step = ++step;
    const auto values = values_of(step);
    for (const NamedShard& shard : shards) ops->upload(shard.local, std::as_bytes(std::span(values)), *stream);
    store.save(state, shards, *stream);
    store.finish();
    say("saved", step);
  }
}

}  // namespace
}  // namespace athanor

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  athanor::MpiSession mpi(argc, argv);
  try {
    return athanor::run(argv[1]);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
