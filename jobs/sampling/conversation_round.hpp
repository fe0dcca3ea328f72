// One round of rejection sampling: some problems, several completions of each, and what becomes of every one.
// Laws
//  * Which problems, what is sampled and how it is judged are functions of the options, the seed and the problem's
//    number: not of the round, the mesh or what was sampled before. What does depend on that (duplicates, the cap) is
//    decided in the order of problems by ConversationLog.
//  * Rank 0 gets all of a round, in the order of problems and siblings.
// Source: DeepSeek-R1 (arXiv 2501.12948v2), cold start and the 600k reasoning samples.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "io/options/job_options.hpp"
#include "jobs/rl/drawn_problems.hpp"
#include "jobs/sampling/decontamination.hpp"
#include "src/filter/rejection.hpp"

namespace athanor {

struct JudgedCompletion {
  std::int64_t problem = 0, sibling = 0;
  std::int64_t tokens = 0;
  bool right = false;
  std::optional<Rejection> rejection;  ///< nullopt: good by itself
  std::string line;                    ///< of good ones: the conversation as JSON, without a line break
};

/// What the conversations say of their origin.
struct SampledFrom {
  std::string stage, checkpoint;
  std::uint64_t seed = 0;
};

struct SamplingRound {
  std::vector<JudgedCompletion> completions;  ///< rank 0 alone
  std::int64_t problems = 0;                  ///< of these contaminated ones were not asked:
  std::int64_t contaminated_problems = 0;
  double seconds = 0.0, tokens_per_second = 0.0;  ///< of generating
};

/// How the problems of a stage are asked. @throws ConfigError
ProblemScorerOptions sampling_scorer_options(const JobOptions& options, const Tokenizer& tokenizer, bool logs);
/// Number of problems of a stage. @throws ConfigError where 0 asks for all of what has no end.
std::int64_t num_sampled_problems(const JobOptions& options, const ProblemScorer& scorer);
std::int64_t sampled_tokens(const JobOptions& options);

class ConversationSampler {
 public:
  /// Everything passed must outlive this.
  ConversationSampler(ProcessMesh& mesh, const ProblemScorer& scorer, RolloutEngine& engine,
                      const Decontamination& decontamination, const JobOptions& options, SampledFrom from);

  /// Problems [first, first + count). Collective over the world.
  SamplingRound round(std::int64_t first, std::int64_t count);

 private:
  JudgedCompletion judge(const Problem& problem, std::int64_t number, const Completion& completion,
                         const std::string& text, std::optional<bool> right) const;
  std::string conversation(const Problem& problem, const JudgedCompletion& judged, const std::string& text,
                           const CompletionParts& parts) const;

  ProcessMesh& mesh_;
  const ProblemScorer& scorer_;
  RolloutEngine& engine_;
  const Decontamination& decontamination_;
  const JobOptions& options_;
  SampledFrom from_;
};

}  // namespace athanor
