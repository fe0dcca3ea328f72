#include "io/dataset/fill_in_middle.hpp"

#include <algorithm>

#include "src/base/rng.hpp"
#include "src/text/utf8.hpp"

namespace athanor {

std::optional<FillInMiddleCuts> choose_cuts(const FillInMiddle& options, std::uint64_t source, std::int64_t offset,
                                            std::string_view text) {
  if (options.rate <= 0.0) return std::nullopt;
  const Philox random(options.seed, RandomPurpose::fim, source);
  const std::uint64_t first_draw = 3 * static_cast<std::uint64_t>(offset);
  if (random.uniform(first_draw) >= options.rate) return std::nullopt;
  const std::uint64_t places = count_characters(text) + 1;
  const std::uint64_t a = random.word64(first_draw + 1) % places, b = random.word64(first_draw + 2) % places;
  return FillInMiddleCuts{character_offset(text, std::min(a, b)), character_offset(text, std::max(a, b))};
}

void append_document(const Tokenizer& tokenizer, std::string_view text, const std::optional<FillInMiddleCuts>& cuts,
                     std::vector<std::int32_t>& ids) {
  if (cuts) {
    ids.push_back(tokenizer.special("fim_begin"));
    tokenizer.encode(text.substr(0, cuts->first), ids);
    ids.push_back(tokenizer.special("fim_hole"));
    tokenizer.encode(text.substr(cuts->second), ids);
    ids.push_back(tokenizer.special("fim_end"));
    tokenizer.encode(text.substr(cuts->first, cuts->second - cuts->first), ids);
  } else {
    tokenizer.encode(text, ids);
  }
  ids.push_back(tokenizer.eos_id());
}

}  // namespace athanor
