#include "parallel/rollout/rollout_engine.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "src/base/error.hpp"
#include "src/base/rng.hpp"
#include "src/base/span.hpp"

namespace athanor {
namespace {

constexpr std::int64_t kPrefillTokens = 4096;  ///< of prompts that join one step, about

/// A word for every (prompt, sibling, position).
std::int64_t sampling_key(std::int64_t prompt_id, std::int64_t sibling, std::int64_t position) {
  const auto words = philox4x32({static_cast<std::uint32_t>(prompt_id), static_cast<std::uint32_t>(prompt_id >> 32),
                                 static_cast<std::uint32_t>(sibling), static_cast<std::uint32_t>(position)},
                                {0x243F6A88U, 0x85A308D3U});
  return static_cast<std::int64_t>(std::uint64_t{words[0]} << 32 | words[1]);
}

}  // namespace

RolloutEngine::RolloutEngine(Backend& ops, MeshModel& model, ProcessMesh& mesh, std::int64_t slots,
                             std::int64_t rows_per_slot, CacheForm form, const Tokenizer* tokenizer, Stream& stream)
    : ops_(ops),
      model_(model),
      mesh_(mesh),
      slots_(slots),
      rows_per_slot_(rows_per_slot),
      tokenizer_(tokenizer),
      stream_(stream),
      caches_(model.make_caches(ops, slots + 1, rows_per_slot, form)) {}

void RolloutEngine::HostRows::clear() {
  for (auto* list : {&tokens, &positions, &slots, &lengths, &cache_rows, &logit_rows}) list->clear();
}

void RolloutEngine::add_row(std::int32_t token, std::int64_t slot, std::int64_t position) {
  rows_.tokens.push_back(token);
  rows_.positions.push_back(static_cast<std::int32_t>(position));
  rows_.slots.push_back(static_cast<std::int32_t>(slot));
  rows_.lengths.push_back(static_cast<std::int32_t>(position + 1));
  rows_.cache_rows.push_back(static_cast<std::int32_t>(slot * rows_per_slot_ + position));
}

DecodeRows RolloutEngine::upload_rows() {
  const auto put = [&](const std::vector<std::int32_t>& list) {
    return upload_vector<std::int32_t>(ops_, list, {static_cast<std::int64_t>(list.size())}, stream_);
  };
  return {put(rows_.tokens),  put(rows_.positions),  put(rows_.slots),
          put(rows_.lengths), put(rows_.cache_rows), put(rows_.logit_rows)};
}

void RolloutEngine::require_fits(std::span<const RolloutPrompt> prompts, const RolloutOptions& options) const {
  if (options.group_size < 1 || options.group_size > slots_)
    throw ConfigError(fmt::format("rollout: groups of {} siblings do not fit {} slots; choose at least as many slots",
                                  options.group_size, slots_));
  if (!options.stop_strings.empty() && tokenizer_ == nullptr) throw Error("rollout: stop strings need a tokenizer");
  for (const RolloutPrompt& prompt : prompts)
    if (prompt.tokens.empty() ||
        static_cast<std::int64_t>(prompt.tokens.size()) + options.max_new_tokens > rows_per_slot_)
      throw ConfigError(fmt::format(
          "rollout: prompt {} has {} tokens, which with {} new ones exceed the {} of a slot; shorten it or lower the "
          "length of completions",
          prompt.id, prompt.tokens.size(), options.max_new_tokens, rows_per_slot_));
}

void RolloutEngine::admit(std::span<const RolloutPrompt> prompts, const RolloutOptions& options,
                          std::vector<Completion>& result) {
  const auto group = static_cast<std::size_t>(options.group_size);
  std::int64_t prefilled = 0;
  while (next_prompt_ < prompts.size() && free_slots_.size() >= group && prefilled < kPrefillTokens) {
    const RolloutPrompt& prompt = prompts[next_prompt_];
    const auto length = static_cast<std::int64_t>(prompt.tokens.size());
    const std::int64_t first_slot = free_slots_.back();
    for (std::int64_t i = 0; i < length; ++i) add_row(prompt.tokens[static_cast<std::size_t>(i)], first_slot, i);
    const auto last_row = static_cast<std::int32_t>(rows_.tokens.size() - 1);
    for (std::size_t sibling = 0; sibling < group; ++sibling) {
      const std::int64_t slot = free_slots_.back();
      free_slots_.pop_back();
      for (std::int64_t i = 0; i < length && slot != first_slot; ++i) {
        copy_from_.push_back(static_cast<std::int32_t>(first_slot * rows_per_slot_ + i));
        copy_to_.push_back(static_cast<std::int32_t>(slot * rows_per_slot_ + i));
      }
      const std::size_t index = next_prompt_ * group + sibling;
      result[index].prompt = static_cast<std::int64_t>(next_prompt_);
      result[index].sibling = static_cast<std::int64_t>(sibling);
      active_.push_back({index, slot, length, {}});
      rows_.logit_rows.push_back(last_row);
    }
    prefilled += length;
    ++next_prompt_;
  }
}

bool RolloutEngine::append(Active& active, Completion& completion, std::int32_t token, double logprob,
                           const RolloutOptions& options) const {
  completion.tokens.push_back(token);
  completion.logprobs.push_back(logprob);
  completion.end = Completion::End::stop;
  if (std::find(options.stop_ids.begin(), options.stop_ids.end(), token) != options.stop_ids.end()) return true;
  if (!options.stop_strings.empty()) {
    if (token < tokenizer_->vocab_size()) active.tail += tokenizer_->token_bytes(token);  // the model's may be padded
    std::size_t longest = 0;
    for (const std::string& stop : options.stop_strings) {
      longest = std::max(longest, stop.size());
      if (active.tail.ends_with(stop)) return true;
    }
    if (active.tail.size() > longest) active.tail.erase(0, active.tail.size() - longest);
  }
  completion.end = Completion::End::length;
  return static_cast<std::int64_t>(completion.tokens.size()) >= options.max_new_tokens;
}

void RolloutEngine::run_step(const RolloutOptions& options, std::span<const RolloutPrompt> prompts,
                             std::vector<Completion>& result) {
  const std::size_t decoding = active_.size();
  rows_.clear();
  copy_from_.clear();
  copy_to_.clear();
  for (const Active& active : active_) {
    rows_.logit_rows.push_back(static_cast<std::int32_t>(rows_.tokens.size()));
    add_row(result[active.completion].tokens.back(), active.slot, active.length);
  }
  admit(prompts, options, result);
  const bool idle = rows_.tokens.empty();
  if (idle) {
    add_row(0, slots_, 0);
    rows_.logit_rows.push_back(0);
  }
  keys_.clear();
  for (const Active& active : active_) {
    const Completion& completion = result[active.completion];
    keys_.push_back(sampling_key(prompts[static_cast<std::size_t>(completion.prompt)].id, completion.sibling,
                                 static_cast<std::int64_t>(completion.tokens.size())));
  }
  if (idle) keys_.push_back(0);

  const MicroBatch no_batch;
  ExecContext ctx{ops_, stream_, stream_, no_batch, model_.dtype(), false};
  ctx.decoding = true;
  const DecodeRows rows = upload_rows();
  const Tensor logits_NV = model_.decode(ctx, rows, caches_);
  if (!copy_from_.empty()) {
    const Shape copies{static_cast<std::int64_t>(copy_from_.size())};
    const Tensor from_R = upload_vector<std::int32_t>(ops_, copy_from_, copies, stream_);
    const Tensor to_R = upload_vector<std::int32_t>(ops_, copy_to_, copies, stream_);
    for (KvCache& cache : caches_) cache.copy_rows(ops_, from_R, to_R, stream_);
  }
  const auto count = static_cast<std::int64_t>(keys_.size());
  const Tensor ids_N = ops_.empty({count}, DType::i32), logprobs_N = ops_.empty({count}, ctx.acc());
  if (logits_NV.defined()) {
    const Tensor keys_N = upload_vector<std::int64_t>(ops_, keys_, {count}, stream_);
    ops_.sample(ids_N, logprobs_N, logits_NV, keys_N, options.seed, options.sampling, stream_);
  }
  if (mesh_.size(Axis::pp) > 1) {
    mesh_.along(Axis::pp).broadcast(ids_N, model_.head_rank(), stream_);
    mesh_.along(Axis::pp).broadcast(logprobs_N, model_.head_rank(), stream_);
  }
  if (idle) return;
  chosen_.resize(static_cast<std::size_t>(count));
  logprobs_.resize(static_cast<std::size_t>(count));
  ops_.download(std::as_writable_bytes(std::span(chosen_)), ids_N, stream_);
  if (ctx.acc() == DType::f64) {
    ops_.download(std::as_writable_bytes(std::span(logprobs_)), logprobs_N, stream_);
    stream_.synchronize();
  } else {
    logprobs_f32_.resize(static_cast<std::size_t>(count));
    ops_.download(std::as_writable_bytes(std::span(logprobs_f32_)), logprobs_N, stream_);
    stream_.synchronize();
    logprobs_.assign(logprobs_f32_.begin(), logprobs_f32_.end());
  }
  std::size_t kept = 0;
  for (std::size_t i = 0; i < active_.size(); ++i) {
    Active& active = active_[i];
    if (i < decoding) ++active.length;  // its last token is in the cache now
    ++tokens_generated_;
    if (append(active, result[active.completion], chosen_[i], logprobs_[i], options))
      free_slots_.push_back(active.slot);
    else if (kept != i)
      active_[kept++] = std::move(active);
    else
      ++kept;
  }
  active_.resize(kept);
}

bool RolloutEngine::gives_up(const RolloutOptions& options) {
  if (!options.give_up) return false;
  bool asked = options.give_up();
  for (const Axis axis : {mesh_.size(Axis::ep) > 1 ? Axis::layer : Axis::tp, Axis::pp})
    if (mesh_.size(axis) > 1) asked = mesh_.host(axis).any(asked);
  return asked;
}

std::vector<Completion> RolloutEngine::generate(std::span<const RolloutPrompt> prompts, const RolloutOptions& options) {
  const Span span(SpanKind::rollout, "generate", {}, {{"prompts", std::ssize(prompts)}, {"group", options.group_size}});
  require_fits(prompts, options);
  std::vector<Completion> result(prompts.size() * static_cast<std::size_t>(options.group_size));
  free_slots_.clear();
  for (std::int64_t slot = slots_ - 1; slot >= 0; --slot) free_slots_.push_back(slot);
  active_.clear();
  next_prompt_ = 0;
  tokens_generated_ = 0;
  HostGroup& together = mesh_.host(Axis::layer);
  const bool shares_experts = mesh_.size(Axis::ep) > 1;
  while (true) {
    const bool mine = !active_.empty() || next_prompt_ < prompts.size();
    if (shares_experts ? !together.any(mine) : !mine) break;
    if (gives_up(options)) break;
    run_step(options, prompts, result);
  }
  return result;
}

}  // namespace athanor
