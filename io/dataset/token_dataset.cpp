#include "io/dataset/token_dataset.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "src/base/error.hpp"
#include "src/base/rng.hpp"

namespace athanor {

TokenDataset::TokenDataset(std::shared_ptr<const TokenFile> file) : file_(std::move(file)) {
  end_ = file_->info().num_tokens;
}

TokenDataset::TokenDataset(std::shared_ptr<const TokenFile> file, std::int64_t begin, std::int64_t end)
    : file_(std::move(file)), begin_(begin), end_(end) {
  if (begin < 0 || begin > end || end > file_->info().num_tokens)
    throw Error(fmt::format("{}: tokens [{}, {}) of {}", file_->path(), begin, end, file_->info().num_tokens));
}

std::uint64_t TokenDataset::fingerprint() const {
  return stable_hash(fmt::format("{} {} {}", file_->info().checksum, begin_, end_));
}

namespace {

/// The document end nearest to `place` that is not the file's end; 0 where there is one document only.
std::int64_t nearest_document_end(const TokenFile& file, std::int64_t place) {
  std::int64_t low = 0, high = file.info().num_documents - 1;  // the first end >= place is in [low, high]
  while (low < high) {
    const std::int64_t middle = low + (high - low) / 2;
    if (file.document_end(middle) < place)
      low = middle + 1;
    else
      high = middle;
  }
  std::int64_t best = 0;
  for (const std::int64_t document : {low - 1, low}) {
    if (document < 0 || document >= file.info().num_documents - 1) continue;
    const std::int64_t end = file.document_end(document);
    if (best == 0 || std::abs(end - place) < std::abs(best - place)) best = end;
  }
  return best;
}

}  // namespace

HeldOutSplit split_held_out(std::shared_ptr<const TokenFile> file, double fraction) {
  if (!(fraction >= 0.0 && fraction < 1.0))
    throw ConfigError(fmt::format("data.held_out_fraction is {}, wanted at least 0 and below 1", fraction));
  const std::int64_t tokens = file->info().num_tokens;
  const auto wanted = static_cast<std::int64_t>(std::llround(fraction * static_cast<double>(tokens)));
  std::int64_t cut = tokens - wanted;
  if (wanted > 0) {
    const std::int64_t end = nearest_document_end(*file, cut);
    const std::int64_t held_out = tokens - end;
    if (end > 0 && 2 * held_out >= wanted && held_out <= 2 * wanted) cut = end;
  }
  return {TokenDataset(file, 0, cut), TokenDataset(file, cut, tokens)};
}

}  // namespace athanor
