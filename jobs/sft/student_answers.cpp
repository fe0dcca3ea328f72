#include "jobs/sft/student_answers.hpp"

#include <algorithm>

#include "jobs/rl/gathered_completions.hpp"
#include "jobs/rollout_room.hpp"

namespace athanor {
namespace {

RolloutOptions sampling_of(const JobOptions& options, std::int32_t end_id) {
  RolloutOptions sampling;
  sampling.sampling = {1.0, 1.0, 0, 0.0};
  sampling.max_new_tokens = options.distill.max_new_tokens;
  sampling.seed = options.run.seed;
  sampling.stop_ids = {end_id};
  return sampling;
}

/// What stands before the answer. A long question leaves the answer room all the same: its end is cut off.
std::span<const std::int32_t> question_of(const Example& example, std::int64_t most) {
  const auto first = std::find(example.learned.begin(), example.learned.end(), std::uint8_t{1});
  const auto length = std::clamp<std::int64_t>(first - example.learned.begin(), 1, std::max<std::int64_t>(1, most));
  return std::span(example.tokens).first(static_cast<std::size_t>(length));
}

}  // namespace

StudentAnswers::StudentAnswers(Environment& env, MeshModel& model, const JobOptions& options, std::int32_t end_id)
    : env_(env),
      sampling_(sampling_of(options, end_id)),
      row_tokens_(options.data.sequence_length),
      engine_(*env.ops, model, *env.mesh, rollout_room(options, options.rl.slots, options.data.sequence_length + 1),
              nullptr, *env.compute) {}

std::vector<Example> StudentAnswers::write(const std::vector<const Example*>& examples, std::int64_t first_number) {
  const auto ranks = static_cast<std::size_t>(env_.mesh->size(Axis::data));
  const auto rank = static_cast<std::size_t>(env_.mesh->coord(Axis::data));
  const std::int64_t most = row_tokens_ + 1 - sampling_.max_new_tokens;
  std::vector<RolloutPrompt> prompts;
  for (std::size_t i = rank; i < examples.size(); i += ranks) {
    const auto question = question_of(*examples[i], most);
    prompts.push_back({first_number + static_cast<std::int64_t>(i), {question.begin(), question.end()}});
  }
  const auto completions = gathered_completions(engine_.generate(prompts, sampling_), env_.mesh->host(Axis::data));
  std::vector<Example> written;
  for (std::size_t i = 0; i < examples.size(); ++i) {
    const auto question = question_of(*examples[i], most);
    Example example{{question.begin(), question.end()}, std::vector<std::uint8_t>(question.size(), 0)};
    const std::vector<std::int32_t>& answer = completions[i % ranks][i / ranks].tokens;
    example.tokens.insert(example.tokens.end(), answer.begin(), answer.end());
    example.learned.resize(example.tokens.size(), 1);
    written.push_back(std::move(example));
  }
  return written;
}

}  // namespace athanor
