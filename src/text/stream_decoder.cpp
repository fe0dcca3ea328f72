#include "src/text/stream_decoder.hpp"

#include <array>

#include "src/text/utf8.hpp"

namespace athanor {

std::string StreamDecoder::push(std::int32_t id) {
  pending_ += tokenizer_.decode(std::array{id}, show_special_);
  std::string text;
  std::size_t position = 0;
  while (position < pending_.size()) {
    const Utf8Step step = utf8_step(pending_, position);
    if (step.state == Utf8State::cut_short) break;
    if (step.state == Utf8State::complete)
      text.append(pending_, position, step.length);
    else
      text += kReplacementCharacter;
    position += step.length;
  }
  pending_.erase(0, position);
  return text;
}

std::string StreamDecoder::finish() {
  std::string text = replace_invalid_utf8(pending_);
  pending_.clear();
  return text;
}

}  // namespace athanor
