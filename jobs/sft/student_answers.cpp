#include "jobs/sft/student_answers.hpp"

#include <algorithm>
#include <cstring>

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
      engine_(*env.ops, model, *env.mesh, options.rl.slots, options.data.sequence_length + 1,
              cache_form(options.run.numerics), nullptr, *env.compute) {}

std::vector<Example> StudentAnswers::write(const std::vector<const Example*>& examples, std::int64_t first_number) {
  const auto ranks = static_cast<std::size_t>(env_.mesh->size(Axis::dp));
  const auto rank = static_cast<std::size_t>(env_.mesh->coord(Axis::dp));
  const std::int64_t most = row_tokens_ + 1 - sampling_.max_new_tokens;
  std::vector<RolloutPrompt> prompts;
  for (std::size_t i = rank; i < examples.size(); i += ranks) {
    const auto question = question_of(*examples[i], most);
    prompts.push_back({first_number + static_cast<std::int64_t>(i), {question.begin(), question.end()}});
  }
  const std::vector<Completion> completions = engine_.generate(prompts, sampling_);
  std::string mine;
  const auto append = [&](std::int32_t number) { mine.append(reinterpret_cast<const char*>(&number), sizeof(number)); };
  for (const Completion& completion : completions) {
    append(static_cast<std::int32_t>(completion.tokens.size()));
    for (const std::int32_t token : completion.tokens) append(token);
  }
  const std::vector<std::string> gathered = env_.mesh->host(Axis::dp).all_gather(mine);
  std::vector<std::size_t> read(ranks, 0);
  const auto next = [&](std::size_t from) {
    std::int32_t number = 0;
    std::memcpy(&number, gathered[from].data() + read[from], sizeof(number));
    read[from] += sizeof(number);
    return number;
  };
  std::vector<Example> written;
  for (std::size_t i = 0; i < examples.size(); ++i) {
    const auto question = question_of(*examples[i], most);
    Example example{{question.begin(), question.end()}, std::vector<std::uint8_t>(question.size(), 0)};
    for (std::int32_t left = next(i % ranks); left > 0; --left) {
      example.tokens.push_back(next(i % ranks));
      example.learned.push_back(1);
    }
    written.push_back(std::move(example));
  }
  return written;
}

}  // namespace athanor
