#include "parallel/rollout/rollout_engine.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <utility>

#include "src/base/error.hpp"
#include "src/base/span.hpp"

namespace athanor {
namespace {

constexpr std::int64_t kPrefillTokens = 4096;  ///< of prompts that join one step, about

std::int64_t looks(const Backend& ops, std::int64_t look_every) {
  if (look_every < 0)
    throw ConfigError(fmt::format("rollout: a look every {} tokens (rl.look_every) is none", look_every));
  if (look_every > 0) return look_every;
  return ops.device().kind == Device::Kind::cuda ? 16 : 1;
}

/// Rows of a step for so many sequences where steps are recorded: few numbers, at most 15 rows or half of them idle.
std::int64_t rounded_rows(std::int64_t sequences) {
  const auto count = static_cast<std::uint64_t>(std::max<std::int64_t>(1, sequences));
  return static_cast<std::int64_t>(count < 16 ? std::bit_ceil(count) : (count + 15) / 16 * 16);
}

SlotPages::Size within_positions(const SlotPages::Size& size, const ModelConfig& config) {
  if (size.sequence_tokens > config.max_positions)
    throw ConfigError(
        fmt::format("a sequence of {} tokens was asked for, but model.max_positions = {}; shorten the sequence or "
                    "raise model.max_positions",
                    size.sequence_tokens, config.max_positions));
  return size;
}

}  // namespace

RolloutEngine::RolloutEngine(Backend& ops, MeshModel& model, ProcessMesh& mesh, const Room& room,
                             const Tokenizer* tokenizer, Stream& stream)
    : ops_(ops),
      rows_alike_before_(ops.keep_rows_alike(room.form == CacheForm::heads)),
      model_(model),
      mesh_(mesh),
      tokenizer_(tokenizer),
      stream_(stream),
      pages_(ops, within_positions(room.size, model.config())),
      caches_(model.make_caches(ops, pages_.num_pages(), room.size.page_tokens, room.form)),
      window_(ops, rounded_rows(room.size.slots), looks(ops, room.look_every), accumulation_dtype(model.dtype())) {}

void RolloutEngine::HostRows::clear() {
  for (auto* list : {&tokens, &positions, &slots, &lengths, &logit_rows}) list->clear();
}

void RolloutEngine::require_fits(std::span<const RolloutPrompt> prompts, const RolloutOptions& options) const {
  const SlotPages::Size& size = pages_.size();
  if (options.group_size < 1 || options.group_size > size.slots)
    throw ConfigError(fmt::format("rollout: groups of {} siblings do not fit {} slots; choose at least as many slots",
                                  options.group_size, size.slots));
  if (!options.stop_strings.empty() && tokenizer_ == nullptr) throw Error("rollout: stop strings need a tokenizer");
  for (const RolloutPrompt& prompt : prompts) {
    const auto tokens = static_cast<std::int64_t>(prompt.tokens.size());
    if (prompt.tokens.empty() || tokens + options.max_new_tokens > size.sequence_tokens)
      throw ConfigError(fmt::format(
          "rollout: prompt {} has {} tokens, which with {} new ones exceed the {} of a slot; shorten it or lower the "
          "length of completions",
          prompt.id, tokens, options.max_new_tokens, size.sequence_tokens));
    const std::int64_t written = tokens - 1 + std::min(window_.most_steps(), options.max_new_tokens);
    const std::int64_t pages = tokens / size.page_tokens + options.group_size * pages_.own_pages_of(written, tokens);
    if (pages > pages_.num_pages())
      throw ConfigError(
          fmt::format("rollout: {} siblings of prompt {} begin with {} pages of {} tokens, the cache has {}; raise "
                      "rl.cache_tokens",
                      options.group_size, prompt.id, pages, size.page_tokens, pages_.num_pages()));
  }
}

std::int64_t RolloutEngine::tokens_of_window(const Active& active) const {
  const Completion& completion = result_[active.completion];
  const std::int64_t left = options_->max_new_tokens - std::ssize(completion.tokens);
  return active.position + std::min(window_.most_steps(), left);
}

void RolloutEngine::keep_pages() {
  for (std::size_t i = 0; i < active_.size(); ++i)
    while (i < active_.size() && !pages_.reserve(active_[i].slot, tokens_of_window(active_[i]))) {
      Active& youngest = active_.back();
      pages_.release(youngest.slot);
      free_slots_.push_back(youngest.slot);
      preempted_.push_front(std::move(youngest));
      active_.pop_back();
      ++statistics_.preempted;
    }
}

void RolloutEngine::add_rows(std::span<const std::int32_t> tokens, std::int64_t slot, std::int64_t first_position) {
  auto position = static_cast<std::int32_t>(first_position);
  for (const std::int32_t token : tokens) {
    joined_.tokens.push_back(token);
    joined_.positions.push_back(position);
    joined_.slots.push_back(static_cast<std::int32_t>(slot));
    joined_.lengths.push_back(++position);
  }
}

bool RolloutEngine::admit_preempted(std::int64_t& prefilled) {
  Active& waiting = preempted_.front();
  // Its newest token is to be computed again as well, as a prompt's last one is.
  const std::int64_t spare = static_cast<std::int64_t>(active_.size());
  if (free_slots_.empty() || pages_.num_free() < pages_.pages_of(tokens_of_window(waiting)) + spare) return false;
  waiting.slot = free_slots_.back();
  free_slots_.pop_back();
  pages_.reserve(waiting.slot, tokens_of_window(waiting));
  const Completion& completion = result_[waiting.completion];
  const auto& prompt = prompts_[static_cast<std::size_t>(completion.prompt)].tokens;
  add_rows(prompt, waiting.slot, 0);
  add_rows(completion.tokens, waiting.slot, std::ssize(prompt));
  joined_.logit_rows.push_back(static_cast<std::int32_t>(joined_.tokens.size() - 1));
  prefilled += waiting.position + 1;
  active_.push_back(std::move(waiting));
  preempted_.pop_front();
  return true;
}

bool RolloutEngine::admit_group(std::int64_t& prefilled) {
  const auto group = static_cast<std::size_t>(options_->group_size);
  const RolloutPrompt& prompt = prompts_[next_prompt_];
  const auto length = static_cast<std::int64_t>(prompt.tokens.size());
  Active first{.completion = next_prompt_ * group, .position = length - 1};
  const std::int64_t written = tokens_of_window(first);
  const std::int64_t pages =
      pages_.own_pages_of(written, length) * options_->group_size + length / pages_.size().page_tokens;
  // Where pages may run out, each sequence at work is left one to go on with.
  const std::int64_t spare = pages_.never_short() ? 0 : static_cast<std::int64_t>(active_.size());
  if (free_slots_.size() < group || pages_.num_free() < pages + spare) return false;
  for (std::size_t sibling = 0; sibling < group; ++sibling) {
    Active active = first;
    active.completion += sibling;
    active.slot = free_slots_.back();
    free_slots_.pop_back();
    if (sibling == 0) {
      first.slot = active.slot;
      pages_.reserve(first.slot, length);
      add_rows(prompt.tokens, first.slot, 0);
    } else {
      pages_.share(first.slot, active.slot, length, copy_from_, copy_to_);
    }
    joined_.logit_rows.push_back(static_cast<std::int32_t>(joined_.tokens.size() - 1));
    Completion& completion = result_[active.completion];
    completion.prompt = static_cast<std::int64_t>(next_prompt_);
    completion.sibling = static_cast<std::int64_t>(sibling);
    active_.push_back(std::move(active));
  }
  for (std::size_t i = active_.size() - group; i < active_.size(); ++i) pages_.reserve(active_[i].slot, written);
  prefilled += length;
  ++next_prompt_;
  return true;
}

void RolloutEngine::admit() {
  decoding_ = active_.size();
  joined_.clear();
  copy_from_.clear();
  copy_to_.clear();
  if (preempted_.empty() && next_prompt_ == prompts_.size()) return;
  for (const Active& active : active_) {
    joined_.logit_rows.push_back(static_cast<std::int32_t>(joined_.tokens.size()));
    add_rows({&result_[active.completion].tokens.back(), 1}, active.slot, active.position);
  }
  std::int64_t prefilled = 0;
  while (prefilled < kPrefillTokens) {
    if (!preempted_.empty()) {
      if (!admit_preempted(prefilled)) break;
    } else if (next_prompt_ == prompts_.size() || !admit_group(prefilled)) {
      break;
    }
  }
}

std::int64_t RolloutEngine::wanted_steps() const {
  std::int64_t most = 0;
  for (const Active& active : active_)
    most = std::max(most, options_->max_new_tokens - std::ssize(result_[active.completion].tokens));
  return std::min(most, window_.most_steps());
}

void RolloutEngine::begin_window() {
  window_rows_.clear();
  for (const Active& active : active_) {
    const Completion& completion = result_[active.completion];
    window_rows_.push_back({.prompt = prompts_[static_cast<std::size_t>(completion.prompt)].id,
                            .sibling = static_cast<std::int32_t>(completion.sibling),
                            .slot = static_cast<std::int32_t>(active.slot),
                            .token = completion.tokens.empty() ? 0 : completion.tokens.back(),
                            .position = static_cast<std::int32_t>(active.position),
                            .length = static_cast<std::int32_t>(active.position + 1),
                            .count = static_cast<std::int32_t>(completion.tokens.size())});
  }
  const std::int64_t sequences = std::ssize(active_);
  const bool rounded = graphs_ && graphs_->replays();
  window_rows_.resize(
      static_cast<std::size_t>(rounded ? rounded_rows(sequences) : std::max<std::int64_t>(1, sequences)));
  window_.begin(window_rows_, stream_);
}

void RolloutEngine::run_joined_step() {
  joined_.logit_rows.resize(window_rows_.size(), 0);  // those that count for nothing draw from some row
  const auto put = [&](const std::vector<std::int32_t>& list) {
    return upload_vector<std::int32_t>(ops_, list, {std::ssize(list)}, stream_);
  };
  run_step({.tokens_R = put(joined_.tokens),
            .positions_R = put(joined_.positions),
            .slots_R = put(joined_.slots),
            .lengths_R = put(joined_.lengths),
            .pages_SP = pages_.table(stream_),
            .logit_rows_N = put(joined_.logit_rows),
            .cache_rows_R = {}});
  if (copy_from_.empty()) return;
  const Tensor from_R = put(copy_from_), to_R = put(copy_to_);
  for (KvCache& cache : caches_) cache.copy_rows(ops_, from_R, to_R, stream_);
}

void RolloutEngine::run_decode_step() {
  const Tensor& pages_SP = pages_.table(stream_);
  const auto step = [&] { run_step(window_.decode_rows(pages_SP)); };
  if (graphs_)
    graphs_->run(std::ssize(window_rows_), step);
  else
    step();
}

void RolloutEngine::run_step(const DecodeRows& rows) {
  const MicroBatch no_batch;
  ExecContext ctx{ops_, stream_, stream_, no_batch, model_.dtype(), false};
  ctx.decoding = true;
  ctx.weights_epoch = weights_epoch_;
  const Tensor logits_NV = model_.decode(ctx, rows, caches_);
  if (logits_NV.defined()) window_.sample(logits_NV, choice_, stream_);
  if (mesh_.size(Axis::pp) > 1) {
    mesh_.along(Axis::pp).broadcast(window_.ids_R(), model_.head_rank(), stream_);
    mesh_.along(Axis::pp).broadcast(window_.logprobs_R(), model_.head_rank(), stream_);
  }
  window_.advance(choice_, stream_);
}

bool RolloutEngine::append(Active& active, std::int32_t token, double logprob) {
  Completion& completion = result_[active.completion];
  completion.tokens.push_back(token);
  completion.logprobs.push_back(logprob);
  completion.end = Completion::End::stop;
  if (std::find(options_->stop_ids.begin(), options_->stop_ids.end(), token) != options_->stop_ids.end()) return true;
  if (!options_->stop_strings.empty()) {
    if (token < tokenizer_->vocab_size()) active.tail += tokenizer_->token_bytes(token);  // the model's may be padded
    std::size_t longest = 0;
    for (const std::string& stop : options_->stop_strings) {
      longest = std::max(longest, stop.size());
      if (active.tail.ends_with(stop)) return true;
    }
    if (active.tail.size() > longest) active.tail.erase(0, active.tail.size() - longest);
  }
  completion.end = Completion::End::length;
  return std::ssize(completion.tokens) >= options_->max_new_tokens;
}

void RolloutEngine::finish_window(std::int64_t steps) {
  if (active_.empty()) return;
  window_.download(steps, stream_);
  std::size_t kept = 0;
  for (std::size_t i = 0; i < active_.size(); ++i) {
    Active& active = active_[i];
    bool ends = false;
    for (std::int64_t step = 0; step < steps && !ends; ++step) {
      ++active.position;
      ++statistics_.tokens;
      const auto row = static_cast<std::int64_t>(i);
      ends = append(active, window_.token(step, row), window_.logprob(step, row));
    }
    if (ends) {
      pages_.release(active.slot);
      free_slots_.push_back(active.slot);
    } else if (kept != i) {
      active_[kept++] = std::move(active);
    } else {
      ++kept;
    }
  }
  active_.resize(kept);
}

bool RolloutEngine::gives_up() {
  if (!options_->give_up) return false;
  bool asked = options_->give_up();
  for (const Axis axis : {mesh_.size(Axis::ep) > 1 ? Axis::layer : Axis::tp, Axis::pp})
    if (mesh_.size(axis) > 1) asked = mesh_.host(axis).any(asked);
  return asked;
}

std::vector<Completion> RolloutEngine::generate(std::span<const RolloutPrompt> prompts, const RolloutOptions& options) {
  const Span span(SpanKind::rollout, "generate", {}, {{"prompts", std::ssize(prompts)}, {"group", options.group_size}});
  require_fits(prompts, options);
  prompts_ = prompts;
  options_ = &options;
  choice_ = {
      .sampling = options.sampling, .seed = options.seed, .stop_ids_S = {}, .most_tokens = options.max_new_tokens};
  if (!options.stop_ids.empty())
    choice_.stop_ids_S = upload_vector<std::int32_t>(ops_, options.stop_ids, {std::ssize(options.stop_ids)}, stream_);
  result_.assign(prompts.size() * static_cast<std::size_t>(options.group_size), {});
  pages_.reset();
  free_slots_.clear();
  for (std::int64_t slot = pages_.size().slots - 1; slot >= 0; --slot) free_slots_.push_back(slot);
  active_.clear();
  preempted_.clear();
  next_prompt_ = 0;
  statistics_ = {};
  // FP8 weights are made by the first step, which brings prompts and is no recording; every later step finds them.
  weights_epoch_ = new_weights_epoch();
  const bool alone = mesh_.size(Axis::tp) == 1 && mesh_.size(Axis::pp) == 1 && mesh_.size(Axis::ep) == 1;
  if (alone) graphs_ = ops_.make_graphs(stream_);
  HostGroup& together = mesh_.host(Axis::layer);
  while (true) {
    keep_pages();
    admit();
    const std::int64_t mine = wanted_steps(), steps = mesh_.size(Axis::ep) > 1 ? together.max(mine) : mine;
    if (steps == 0 || gives_up()) break;
    begin_window();
    if (active_.size() > decoding_) run_joined_step();
    for (std::int64_t step = active_.size() > decoding_ ? 1 : 0; step < steps; ++step) run_decode_step();
    finish_window(steps);
  }
  graphs_.reset();  // its memory is the training's again
  statistics_.most_pages_held = pages_.peak_held();
  return std::move(result_);
}

}  // namespace athanor
