#include "io/dataset/evaluation_windows.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "src/base/error.hpp"

namespace athanor {

EvaluationWindows::EvaluationWindows(std::vector<TokenDataset> sources, const Tokenizer& tokenizer,
                                     std::int64_t sequence_length, bool isolate_documents)
    : sources_(std::move(sources)),
      first_window_{0},
      sequence_length_(sequence_length),
      eos_id_(tokenizer.eos_id()),
      isolate_documents_(isolate_documents) {
  if (sequence_length < 1)
    throw ConfigError(fmt::format("data.sequence_length is {}, wanted at least 1", sequence_length));
  for (const TokenDataset& source : sources_) {
    check_tokenizer(source.file(), tokenizer);
    const std::int64_t targets = std::max<std::int64_t>(0, source.num_tokens() - 1);
    first_window_.push_back(first_window_.back() + (targets + sequence_length - 1) / sequence_length);
  }
  if (num_windows() == 0)
    throw ConfigError("no held-out text: give data.held_out files, or a larger data.held_out_fraction");
  for (std::int32_t id = 0; id < tokenizer.vocab_size(); ++id)
    bytes_of_token_.push_back(static_cast<std::int32_t>(tokenizer.text_bytes(id)));
}

EvaluationWindows::Window EvaluationWindows::read(std::int64_t window, std::span<std::int32_t> out_S1) const {
  if (window < 0 || window >= num_windows())
    throw Error(fmt::format("evaluation window {} of {}", window, num_windows()));
  if (static_cast<std::int64_t>(out_S1.size()) != sequence_length_ + 1)
    throw Error(fmt::format("a window has {} tokens, the buffer {}", sequence_length_ + 1, out_S1.size()));
  const auto next = std::upper_bound(first_window_.begin(), first_window_.end(), window);
  const auto s = static_cast<std::size_t>(next - first_window_.begin() - 1);
  const TokenDataset& source = sources_[s];
  const std::int64_t begin = (window - first_window_[s]) * sequence_length_;
  const std::int64_t count = std::min(sequence_length_ + 1, source.num_tokens() - begin);
  source.read(begin, out_S1.first(static_cast<std::size_t>(count)));
  std::fill(out_S1.begin() + count, out_S1.end(), eos_id_);
  Window result{count - 1, 0, 0};
  for (std::int64_t i = 1; i < count; ++i) {
    const std::int32_t target = out_S1[static_cast<std::size_t>(i)];
    if (target < 0 || static_cast<std::size_t>(target) >= bytes_of_token_.size())
      throw DataError(fmt::format("{}: token {} is not in the vocabulary of {}; the file is damaged",
                                  source.file().path(), target, bytes_of_token_.size()));
    if (isolate_documents_ && out_S1[static_cast<std::size_t>(i - 1)] == eos_id_) continue;
    ++result.num_scored;
    result.text_bytes += bytes_of_token_[static_cast<std::size_t>(target)];
  }
  return result;
}

}  // namespace athanor
