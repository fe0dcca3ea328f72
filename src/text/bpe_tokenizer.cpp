#include "src/text/bpe_tokenizer.hpp"

#include <fmt/format.h>

#include "src/base/error.hpp"

namespace athanor {
namespace {

constexpr std::size_t kMostPiecesKept = std::size_t{1} << 16;  // some 10 MB; then the cache starts over
constexpr std::size_t kLongestPieceKept = 64;                  // bytes; longer ones hardly come again

std::string rules_text(const BpeModel& model) {
  std::string rules;
  for (const std::string& pattern : model.patterns) rules += fmt::format("p {} {}\n", pattern.size(), pattern);
  for (const Merge& merge : model.merges) rules += fmt::format("m {} {} {}\n", merge.left, merge.right, merge.result);
  return rules;
}

void check_merge(const BpeModel& model, std::size_t rank) {
  const Merge& merge = model.merges[rank];
  const auto bytes = [&](std::int32_t id) -> std::string_view {
    if (id < 0 || static_cast<std::size_t>(id) >= model.tokens.size() ||
        model.tokens[static_cast<std::size_t>(id)].empty())
      throw DataError(fmt::format("merge {}: {} is no ordinary token", rank, id));
    return model.tokens[static_cast<std::size_t>(id)];
  };
  std::string joined(bytes(merge.left));
  joined += bytes(merge.right);
  if (joined != bytes(merge.result))
    throw DataError(fmt::format("merge {}: token {} is not token {} followed by token {}", rank, merge.result,
                                merge.left, merge.right));
}

}  // namespace

BpeTokenizer::BpeTokenizer(BpeModel model)
    : Tokenizer("bpe", model.tokens, model.special_tokens, rules_text(model)),
      model_(std::move(model)),
      pre_tokenizer_(model_.patterns),
      merges_(model_.merges) {
  byte_ids_.fill(-1);
  for (std::size_t id = 0; id < model_.tokens.size(); ++id)
    if (model_.tokens[id].size() == 1)
      byte_ids_[static_cast<unsigned char>(model_.tokens[id][0])] = static_cast<std::int32_t>(id);
  for (std::size_t byte = 0; byte < 256; ++byte)
    if (byte_ids_[byte] < 0)
      throw DataError(fmt::format("no token stands for byte 0x{:02X}; all 256 are needed", byte));
  for (std::size_t rank = 0; rank < model_.merges.size(); ++rank) check_merge(model_, rank);
}

void BpeTokenizer::encode_ordinary(std::string_view text, std::vector<std::int32_t>& ids) const {
  const std::unique_lock lock(scratch_mutex_, std::try_to_lock);
  if (lock.owns_lock()) {
    encode_with(scratch_, text, ids);
  } else {
    Scratch own;
    encode_with(own, text, ids);
  }
}

void BpeTokenizer::encode_with(Scratch& scratch, std::string_view text, std::vector<std::int32_t>& ids) const {
  scratch.pieces.clear();
  pre_tokenizer_.split(text, scratch.pieces, scratch.pre_tokenizer);
  std::vector<std::int32_t>& piece_ids = scratch.piece_ids;
  for (const std::string_view piece : scratch.pieces) {
    if (const auto known = scratch.seen.find(piece); known != scratch.seen.end()) {
      ids.insert(ids.end(), known->second.begin(), known->second.end());
      continue;
    }
    piece_ids.clear();
    for (const char byte : piece) piece_ids.push_back(byte_ids_[static_cast<unsigned char>(byte)]);
    merges_.apply(piece_ids);
    ids.insert(ids.end(), piece_ids.begin(), piece_ids.end());
    if (piece.size() > kLongestPieceKept) continue;
    if (scratch.seen.size() >= kMostPiecesKept) scratch.seen.clear();
    scratch.seen.emplace(piece, piece_ids);
  }
}

}  // namespace athanor
