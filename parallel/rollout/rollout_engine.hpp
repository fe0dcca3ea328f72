// Completions from the policy, on the mesh and the weights that are trained: no second copy, no synchronisation.
// Laws
//  * Continuous batching: a fixed number of slots of a key/value cache; a prompt takes one slot for each of its G
//    siblings as soon as they are free. It is computed once, in the first sibling's slot, and its rows are copied.
//  * What is sampled is a function of (seed, prompt id, sibling, position) and of the weights: not of the mesh, of the
//    batch or of the order. Log-probabilities are of the softmax at the sampling temperature, before any truncation.
//  * Token in, token out: completions are never decoded and encoded again.
//  * Prompts are shared out over dp and cp by the caller; ranks along tp and pp are given the same ones. Ranks that
//    share experts run in step: one with nothing left joins with a row that counts for nothing.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "parallel/mesh_model.hpp"
#include "src/text/tokenizer.hpp"

namespace athanor {

struct RolloutPrompt {
  std::int64_t id = 0;  ///< names the prompt in the whole run: of the random numbers
  std::vector<std::int32_t> tokens;
};

struct RolloutOptions {
  SamplingArgs sampling;
  std::int64_t max_new_tokens = 128;
  std::int64_t group_size = 1;
  std::uint64_t seed = 0;
  std::vector<std::int32_t> stop_ids;     ///< end a completion and are its last token
  std::vector<std::string> stop_strings;  ///< end a completion once its bytes end with one
  /// Asked before every step of generation: true on any of the ranks that generate together ends it at once, with what
  /// there is. Empty: it is never asked.
  std::function<bool()> give_up;
};

struct Completion {
  enum class End : std::uint8_t { stop, length };
  std::int64_t prompt = 0;   ///< index into the prompts given
  std::int64_t sibling = 0;  ///< of the group
  std::vector<std::int32_t> tokens;
  std::vector<double> logprobs;  ///< one a token
  End end = End::length;
};

class RolloutEngine {
 public:
  /// @param slots  sequences at once.   @param rows_per_slot  tokens of a prompt and its completion, at most.
  /// @param form  heads: log-probabilities are, to the bits, those training computes (up to a tp that cuts sums).
  /// @param tokenizer  for stop strings; may be null without them. Everything passed must outlive this.
  RolloutEngine(Backend& ops, MeshModel& model, ProcessMesh& mesh, std::int64_t slots, std::int64_t rows_per_slot,
                CacheForm form, const Tokenizer* tokenizer, Stream& stream);

  /// All completions, by prompt, then by sibling. Collective over pp and the layer axis.
  /// @throws ConfigError when a prompt does not fit.
  std::vector<Completion> generate(std::span<const RolloutPrompt> prompts, const RolloutOptions& options);

  /// Of the last generate() on this rank.
  std::int64_t tokens_generated() const { return tokens_generated_; }

 private:
  /// A sibling at work in a slot.
  struct Active {
    std::size_t completion;  ///< index into the result
    std::int64_t slot;
    std::int64_t length;  ///< tokens in the cache
    std::string tail;     ///< last bytes, for stop strings
  };
  struct HostRows {
    std::vector<std::int32_t> tokens, positions, slots, lengths, cache_rows, logit_rows;
    void clear();
  };
  void add_row(std::int32_t token, std::int64_t slot, std::int64_t position);
  DecodeRows upload_rows();
  void require_fits(std::span<const RolloutPrompt> prompts, const RolloutOptions& options) const;
  /// Takes prompts into free slots; their rows join this step.
  void admit(std::span<const RolloutPrompt> prompts, const RolloutOptions& options, std::vector<Completion>& result);
  void run_step(const RolloutOptions& options, std::span<const RolloutPrompt> prompts, std::vector<Completion>& result);
  /// Collective over the ranks that generate in step with each other.
  bool gives_up(const RolloutOptions& options);
  /// Appends the token. @returns whether the completion ends.
  bool append(Active& active, Completion& completion, std::int32_t token, double logprob,
              const RolloutOptions& options) const;

  Backend& ops_;
  MeshModel& model_;
  ProcessMesh& mesh_;
  std::int64_t slots_, rows_per_slot_;
  const Tokenizer* tokenizer_;
  Stream& stream_;
  std::vector<KvCache> caches_;  ///< with one slot more, for rows that count for nothing

  std::vector<std::int64_t> free_slots_;
  std::vector<Active> active_;
  std::size_t next_prompt_ = 0;
  HostRows rows_;
  std::vector<std::int64_t> keys_;
  std::vector<std::int32_t> copy_from_, copy_to_, chosen_;
  std::vector<float> logprobs_f32_;
  std::vector<double> logprobs_;
  std::int64_t tokens_generated_ = 0;
};

}  // namespace athanor
