#include "src/text/bpe_trainer.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <queue>

#include "src/base/error.hpp"
#include "src/text/utf8.hpp"

namespace athanor {
namespace {

constexpr std::size_t kLongestPiece = 1024;  // bytes

using PairKey = std::uint64_t;  // left id in the upper half: ordered as (left, right)

PairKey pair_key(std::int32_t left, std::int32_t right) {
  return PairKey{static_cast<std::uint32_t>(left)} << 32 | static_cast<std::uint32_t>(right);
}

/// The distinct pre-tokens as token sequences, and how often every pair of neighbours occurs in them. Counts are kept
/// up to date merge by merge: only the words that hold the merged pair are looked at.
class PairCounts {
 public:
  void add_word(std::string_view bytes, std::int64_t count) {
    Word word{{}, count};
    for (const char byte : bytes) word.ids.push_back(static_cast<unsigned char>(byte));
    words_.push_back(std::move(word));
    count_pairs(static_cast<std::uint32_t>(words_.size() - 1), +1);
  }

  struct Best {
    PairKey pair;
    std::int64_t count;
  };
  /// The most frequent pair, the lowest of equals; count 0 when there is none.
  Best best() {
    flush_changes();
    while (!candidates_.empty()) {
      const Candidate top = candidates_.top();
      const auto pair = pairs_.find(top.pair);
      const std::int64_t count = pair == pairs_.end() ? 0 : pair->second.count;
      if (count == top.count) return {top.pair, count};
      candidates_.pop();  // out of date: the true count was pushed when it changed
    }
    return {0, 0};
  }

  void merge(PairKey key, std::int32_t result) {
    const auto left = static_cast<std::int32_t>(key >> 32), right = static_cast<std::int32_t>(key & 0xFFFFFFFFU);
    std::vector<std::uint32_t> holders = std::move(pairs_.at(key).words);
    std::sort(holders.begin(), holders.end());
    holders.erase(std::unique(holders.begin(), holders.end()), holders.end());
    for (const std::uint32_t index : holders) {
      std::vector<std::int32_t>& ids = words_[index].ids;
      count_pairs(index, -1);
      std::size_t kept = 0;
      for (std::size_t i = 0; i < ids.size(); ++kept) {
        const bool merges = i + 1 < ids.size() && ids[i] == left && ids[i + 1] == right;
        ids[kept] = merges ? result : ids[i];
        i += merges ? 2 : 1;
      }
      ids.resize(kept);
      count_pairs(index, +1);
    }
    pairs_.erase(key);
  }

 private:
  struct Word {
    std::vector<std::int32_t> ids;
    std::int64_t count;
  };
  struct Pair {
    std::int64_t count = 0;
    std::int64_t listed_count = 0;     ///< the count of its newest candidate
    std::vector<std::uint32_t> words;  ///< every word that holds it, maybe some twice and some that no longer do
  };
  struct Candidate {
    std::int64_t count;
    PairKey pair;
    bool operator<(const Candidate& other) const {
      return count != other.count ? count < other.count : pair > other.pair;
    }
  };

  void count_pairs(std::uint32_t index, std::int64_t sign) {
    const Word& word = words_[index];
    for (std::size_t i = 0; i + 1 < word.ids.size(); ++i) {
      const PairKey key = pair_key(word.ids[i], word.ids[i + 1]);
      Pair& pair = pairs_[key];
      pair.count += sign * word.count;
      if (sign > 0 && (pair.words.empty() || pair.words.back() != index)) pair.words.push_back(index);
      changed_.push_back(key);
    }
  }
  void flush_changes() {
    for (const PairKey key : changed_) {
      const auto pair = pairs_.find(key);
      if (pair == pairs_.end() || pair->second.count == pair->second.listed_count) continue;
      pair->second.listed_count = pair->second.count;
      if (pair->second.count > 0) candidates_.push({pair->second.count, key});
    }
    changed_.clear();
  }

  std::vector<Word> words_;
  std::unordered_map<PairKey, Pair> pairs_;
  std::priority_queue<Candidate> candidates_;
  std::vector<PairKey> changed_;
};

}  // namespace

BpeTrainer::BpeTrainer(BpeTrainerOptions options) : options_(std::move(options)), pre_tokenizer_(options_.patterns) {
  const auto fixed = 256 + static_cast<std::int64_t>(options_.special_tokens.size());
  if (options_.vocab_size < fixed)
    throw ConfigError(fmt::format("vocab_size {} has no room for 256 bytes and {} special tokens; choose at least {}",
                                  options_.vocab_size, options_.special_tokens.size(), fixed));
}

void BpeTrainer::add(std::string_view text) {
  if (const auto invalid = find_invalid_utf8(text))
    throw DataError(fmt::format("text is not UTF-8: byte 0x{:02X} at offset {} of {}",
                                static_cast<unsigned>(static_cast<unsigned char>(text[*invalid])), *invalid,
                                text.size()));
  pieces_.clear();
  pre_tokenizer_.split(text, pieces_, scratch_);
  for (const std::string_view piece : pieces_) {
    if (piece.size() > kLongestPiece) continue;
    if (const auto known = counts_.find(piece); known != counts_.end())
      ++known->second;
    else
      counts_.emplace(piece, 1);
  }
}

std::unique_ptr<BpeTokenizer> BpeTrainer::train(const std::function<void(std::int64_t, std::int64_t)>& progress) const {
  BpeModel model;
  model.patterns = options_.patterns;
  for (int byte = 0; byte < 256; ++byte) model.tokens.emplace_back(1, static_cast<char>(byte));

  PairCounts pairs;
  for (const auto& [piece, count] : counts_) pairs.add_word(piece, count);
  const std::int64_t wanted = options_.vocab_size - 256 - static_cast<std::int64_t>(options_.special_tokens.size());
  for (std::int64_t done = 0; done < wanted; ++done) {
    const PairCounts::Best best = pairs.best();
    if (best.count < options_.min_pair_count && options_.may_be_smaller) break;
    if (best.count < options_.min_pair_count)
      throw ConfigError(
          fmt::format("the text fills a vocabulary of {} tokens only (pairs seen at least {} times), not {}; "
                      "lower vocab_size or give more text",
                      options_.vocab_size - wanted + done, options_.min_pair_count, options_.vocab_size));
    const auto left = static_cast<std::int32_t>(best.pair >> 32);
    const auto right = static_cast<std::int32_t>(best.pair & 0xFFFFFFFFU);
    const auto result = static_cast<std::int32_t>(model.tokens.size());
    model.tokens.push_back(model.tokens[static_cast<std::size_t>(left)] +
                           model.tokens[static_cast<std::size_t>(right)]);
    model.merges.push_back({left, right, result});
    pairs.merge(best.pair, result);
    if (progress && (done + 1 == wanted || done % 256 == 0)) progress(done + 1, wanted);
  }
  model.special_tokens = options_.special_tokens;
  auto next_id = static_cast<std::int32_t>(model.tokens.size());
  for (SpecialToken& token : model.special_tokens) token.id = next_id++;
  return std::make_unique<BpeTokenizer>(std::move(model));
}

}  // namespace athanor
