// One token a byte: ids 0..255 are the bytes, then the special tokens in the order of default_special_tokens():
// bos 256, eos 257, pad 258, fim_begin 259, fim_hole 260, fim_end 261, user 262, assistant 263, think 264,
// end_think 265, im_start 266, im_end 267, start_header 268, end_header 269, eot 270. vocab_size() is 271; recipes give
// their models 272, which 2, 4, 8 and 16 ranks of tensor parallelism divide.
#pragma once

#include "src/text/tokenizer.hpp"

namespace athanor {

class ByteTokenizer final : public Tokenizer {
 public:
  ByteTokenizer();

 private:
  void encode_ordinary(std::string_view text, std::vector<std::int32_t>& ids) const override;
};

}  // namespace athanor
