// Fill-in-the-middle: a share of documents is written prefix, suffix, middle, so that a model learns to fill a hole.
// Source: DeepSeek-V3 report, section 4.1 (PSM, rate 0.1, decided per document before packing); Bavarian et al. 2022,
// arXiv 2207.14255 (two uniform cuts).
// Law: whether and where a document is cut is a pure function of (seed, source, offset of the document in the source).
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "src/text/tokenizer.hpp"

namespace athanor {

struct FillInMiddle {
  double rate = 0.0;  ///< share of documents
  std::uint64_t seed = 1;
};

/// Byte offsets of the two cuts, between characters: 0 <= first <= second <= size.
struct FillInMiddleCuts {
  std::size_t first, second;
};

/// Nothing for a document that stays as it is.
std::optional<FillInMiddleCuts> choose_cuts(const FillInMiddle& options, std::uint64_t source, std::int64_t offset,
                                            std::string_view text);

/// Appends the document's tokens and eos: text, or fim_begin prefix fim_hole suffix fim_end middle.
void append_document(const Tokenizer& tokenizer, std::string_view text, const std::optional<FillInMiddleCuts>& cuts,
                     std::vector<std::int32_t>& ids);

}  // namespace athanor
