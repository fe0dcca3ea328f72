#include "parallel/rollout/generation_window.hpp"

#include <string>

#include "src/base/error.hpp"

namespace athanor {
namespace {

constexpr std::int64_t kNumbersOfRow = 6;  ///< i32 numbers of a Row on the device

}  // namespace

GenerationWindow::GenerationWindow(Backend& ops, std::int64_t most_rows, std::int64_t most_steps, DType acc)
    : ops_(ops),
      most_rows_(most_rows),
      most_steps_(most_steps),
      numbers_(ops.empty({kNumbersOfRow * most_rows + 1}, DType::i32)),
      prompts_(ops.empty({most_rows}, DType::i64)),
      tokens_NR_(ops.empty({most_steps * most_rows}, DType::i32)),
      logprobs_NR_(ops.empty({most_steps * most_rows}, acc)),
      all_ids_(ops.empty({most_rows}, DType::i32)),
      all_logprobs_(ops.empty({most_rows}, acc)),
      all_keys_(ops.empty({most_rows}, DType::i64)) {}

void GenerationWindow::begin(std::span<const Row> rows, Stream& stream) {
  rows_ = std::ssize(rows);
  if (rows_ > most_rows_)
    throw Error("GenerationWindow: wanted at most " + std::to_string(most_rows_) + " rows, found " +
                std::to_string(rows_));
  host_numbers_.clear();
  host_prompts_.clear();
  const auto put = [&](std::int32_t Row::*number) {
    const auto first = std::ssize(host_numbers_);
    for (const Row& row : rows) host_numbers_.push_back(row.*number);
    return numbers_.rows(first, first + rows_);
  };
  written_ = {put(&Row::token), put(&Row::position), put(&Row::length), put(&Row::count)};
  siblings_R_ = put(&Row::sibling);
  slots_R_ = put(&Row::slot);
  step_1_ = numbers_.rows(kNumbersOfRow * rows_, kNumbersOfRow * rows_ + 1);
  host_numbers_.push_back(0);
  for (const Row& row : rows) host_prompts_.push_back(row.prompt);
  prompts_R_ = prompts_.rows(0, rows_);
  ops_.upload(numbers_.rows(0, std::ssize(host_numbers_)), std::as_bytes(std::span(host_numbers_)), stream);
  ops_.upload(prompts_R_, std::as_bytes(std::span(host_prompts_)), stream);
  ids_R_ = all_ids_.rows(0, rows_);
  logprobs_R_ = all_logprobs_.rows(0, rows_);
  keys_R_ = all_keys_.rows(0, rows_);
}

DecodeRows GenerationWindow::decode_rows(const Tensor& pages_SP) const {
  return {.tokens_R = written_.tokens_R,
          .positions_R = written_.positions_R,
          .slots_R = slots_R_,
          .lengths_R = written_.lengths_R,
          .pages_SP = pages_SP,
          .logit_rows_N = {},
          .cache_rows_R = {}};
}

void GenerationWindow::sample(const Tensor& logits_RV, const Choice& choice, Stream& stream) {
  ops_.sampling_keys(keys_R_, prompts_R_, siblings_R_, written_.counts_R, stream);
  ops_.sample(ids_R_, logprobs_R_, logits_RV, keys_R_, choice.seed, choice.sampling, stream);
}

void GenerationWindow::advance(const Choice& choice, Stream& stream) {
  const Shape shape{most_steps_, rows_};
  ops_.advance_rows(written_, tokens_NR_.rows(0, shape.numel()).reshaped(shape),
                    logprobs_NR_.rows(0, shape.numel()).reshaped(shape), step_1_, ids_R_, logprobs_R_,
                    choice.stop_ids_S, choice.most_tokens, stream);
}

void GenerationWindow::download(std::int64_t steps, Stream& stream) {
  const std::int64_t count = steps * rows_;
  const Tensor logprobs = logprobs_NR_.rows(0, count);
  tokens_.resize(static_cast<std::size_t>(count));
  logprobs_.resize(static_cast<std::size_t>(count));
  ops_.download(std::as_writable_bytes(std::span(tokens_)), tokens_NR_.rows(0, count), stream);
  if (logprobs.dtype() == DType::f64) {
    ops_.download(std::as_writable_bytes(std::span(logprobs_)), logprobs, stream);
    stream.synchronize();
    return;
  }
  logprobs_f32_.resize(static_cast<std::size_t>(count));
  ops_.download(std::as_writable_bytes(std::span(logprobs_f32_)), logprobs, stream);
  stream.synchronize();
  logprobs_.assign(logprobs_f32_.begin(), logprobs_f32_.end());
}

}  // namespace athanor
