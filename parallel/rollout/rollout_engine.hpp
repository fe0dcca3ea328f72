// Completions from the policy, on the mesh and the weights that are trained: no second copy, no synchronisation.
// Laws
//  * Continuous batching: a fixed number of slots, and pages of a key/value cache for what their sequences need; a
//    prompt takes one slot for each of its G siblings as soon as they are free. It is computed once, and its siblings
//    share its pages. Where pages run out, the youngest sequence gives up its own and is computed again later.
//  * The host looks at what was written every `look_every` tokens; in between all that a step needs is on the device,
//    which replays one recorded step where it can.
//  * What is sampled is a function of (seed, prompt id, sibling, position) and of the weights: not of the mesh, of the
//    batch, of the order, of pages or looks. Log-probabilities are of the softmax at the sampling temperature, before
//    any truncation.
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
#include "parallel/rollout/generation_window.hpp"
#include "parallel/rollout/slot_pages.hpp"
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
  /// Asked before every window of steps (RolloutEngine::Room::look_every): true on any of the ranks that generate
  /// together ends it at once, with what there is. Empty: it is never asked.
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
  struct Room {
    SlotPages::Size size = {};
    /// heads: log-probabilities are, to the bits, those training computes while the engine lives (up to a tp that cuts
    /// sums); the back end then keeps rows alike (Backend::keep_rows_alike).
    CacheForm form = CacheForm::latent;
    /// Tokens of every sequence between two looks of the host; 0: 1 on a CPU, 16 on a GPU.
    std::int64_t look_every = 0;
  };
  /// @param tokenizer  for stop strings; may be null without them. Everything passed must outlive this.
  /// @throws ConfigError where sequences would be longer than the model's positions.
  RolloutEngine(Backend& ops, MeshModel& model, ProcessMesh& mesh, const Room& room, const Tokenizer* tokenizer,
                Stream& stream);
  ~RolloutEngine() { ops_.keep_rows_alike(rows_alike_before_); }
  RolloutEngine(const RolloutEngine&) = delete;
  RolloutEngine& operator=(const RolloutEngine&) = delete;

  /// All completions, by prompt, then by sibling. Collective over pp and the layer axis.
  /// @throws ConfigError when a prompt does not fit.
  std::vector<Completion> generate(std::span<const RolloutPrompt> prompts, const RolloutOptions& options);

  /// Of the last generate() on this rank.
  struct Statistics {
    std::int64_t tokens = 0;           ///< generated
    std::int64_t most_pages_held = 0;  ///< at once, of the cache's num_pages
    std::int64_t preempted = 0;        ///< sequences that gave up their pages
  };
  const Statistics& statistics() const { return statistics_; }
  std::int64_t num_pages() const { return pages_.num_pages(); }

 private:
  /// A sibling at work in a slot.
  struct Active {
    std::size_t completion = 0;  ///< index into the result
    std::int64_t slot = 0;
    std::int64_t position = 0;  ///< place of the newest token, which is not in the cache yet
    std::string tail{};         ///< last bytes, for stop strings
  };
  struct HostRows {
    std::vector<std::int32_t> tokens, positions, slots, lengths, logit_rows;
    void clear();
  };
  void require_fits(std::span<const RolloutPrompt> prompts, const RolloutOptions& options) const;
  /// Tokens that the cache must have room for when a window begins with the newest at `position`.
  std::int64_t tokens_of_window(const Active& active) const;
  /// Sees that every sequence at work has pages for a window; the youngest go where there are too few.
  void keep_pages();
  /// Takes prompts and what was preempted into free slots; their rows join the window's first step.
  void admit();
  bool admit_preempted(std::int64_t& prefilled);
  bool admit_group(std::int64_t& prefilled);
  void add_rows(std::span<const std::int32_t> tokens, std::int64_t slot, std::int64_t first_position);
  /// Collective over the ranks that generate in step with each other.
  bool gives_up();
  /// Steps of the window that begins, as far as this rank is concerned; 0: it has nothing left.
  std::int64_t wanted_steps() const;
  void begin_window();
  /// A step of one token a sequence, from what the step before left on the device.
  void run_decode_step();
  /// The first step where prompts joined: rows of sequences at work and of prompts.
  void run_joined_step();
  void run_step(const DecodeRows& rows);
  void finish_window(std::int64_t steps);
  /// Appends the token. @returns whether the completion ends.
  bool append(Active& active, std::int32_t token, double logprob);

  Backend& ops_;
  bool rows_alike_before_;
  MeshModel& model_;
  ProcessMesh& mesh_;
  const Tokenizer* tokenizer_;
  Stream& stream_;
  SlotPages pages_;
  std::vector<KvCache> caches_;
  GenerationWindow window_;

  // Of the generate() that runs.
  std::span<const RolloutPrompt> prompts_;
  const RolloutOptions* options_ = nullptr;
  GenerationWindow::Choice choice_;
  std::uint64_t weights_epoch_ = 0;
  std::unique_ptr<Graphs> graphs_;  ///< of a step; null where a step brings messages between ranks
  std::vector<Completion> result_;
  std::vector<std::int64_t> free_slots_;
  std::vector<Active> active_;                  ///< the oldest first
  std::deque<Active> preempted_;                ///< the oldest first
  std::size_t next_prompt_ = 0, decoding_ = 0;  ///< sequences that were at work when the window began
  HostRows joined_;
  std::vector<GenerationWindow::Row> window_rows_;
  std::vector<std::int32_t> copy_from_, copy_to_;
  Statistics statistics_;
};

}  // namespace athanor
