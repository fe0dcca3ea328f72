#include "io/dataset/prepare.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <numeric>

#include "io/dataset/prepare_parts.hpp"
#include "io/dataset/token_file.hpp"
#include "parallel/agreement.hpp"
#include "src/base/error.hpp"
#include "src/base/rng.hpp"
#include "src/base/stopwatch.hpp"

namespace athanor {
namespace {
namespace fs = std::filesystem;

constexpr std::int64_t kRangeBytes = std::int64_t{8} << 20;
constexpr std::size_t kChunkNumbers = std::size_t{1} << 20;
constexpr double kSecondsBetweenReports = 0.2;

std::vector<TextSource> find_sources(const PrepareOptions& options, const Tokenizer& tokenizer) {
  if (options.inputs.empty()) throw ConfigError("prepare: no input files; give .txt, .jsonl or .jsonl.gz files");
  if (options.output.empty()) throw ConfigError("prepare: no output file; give a name for the token file (.h5)");
  const double rate = options.fill_in_middle.rate;
  if (!(rate >= 0.0 && rate <= 1.0)) throw ConfigError(fmt::format("fim_rate is {}, wanted 0 to 1", rate));
  tokenizer.special("eos");
  if (rate > 0.0)
    for (const char* name : {"fim_begin", "fim_hole", "fim_end"}) tokenizer.special(name);
  std::vector<TextSource> sources;
  for (const std::string& input : options.inputs) sources.push_back(find_text_source(input));
  return sources;
}

std::string origin_of(const PrepareOptions& options, const std::vector<TextSource>& sources,
                      const Tokenizer& tokenizer) {
  nlohmann::json files = nlohmann::json::array();
  for (const TextSource& source : sources)
    files.push_back({{"file", source.path}, {"bytes", source.file_bytes}, {"modified_ns", source.modified_ns}});
  const nlohmann::json origin{{"sources", files},
                              {"text_field", options.format.text_field},
                              {"separator", options.format.separator},
                              {"replace_invalid", options.format.replace_invalid},
                              {"fim_rate", options.fill_in_middle.rate},
                              {"seed", options.fill_in_middle.seed},
                              {"tokenizer", tokenizer.kind()},
                              {"tokenizer_hash", fmt::format("{:016x}", tokenizer.content_hash())}};
  return origin.dump(1, ' ', false, nlohmann::json::error_handler_t::replace);
}

/// The rank of each range: the largest first, each to the rank with the least work. The same on every rank.
std::vector<int> share_out(const std::vector<ByteRange>& ranges, int num_ranks) {
  std::vector<std::size_t> by_size(ranges.size());
  std::iota(by_size.begin(), by_size.end(), std::size_t{0});
  std::stable_sort(by_size.begin(), by_size.end(),
                   [&](std::size_t a, std::size_t b) { return ranges[a].work_bytes > ranges[b].work_bytes; });
  std::vector<std::int64_t> work(static_cast<std::size_t>(num_ranks), 0);
  std::vector<int> owners(ranges.size());
  for (const std::size_t range : by_size) {
    const auto least = std::min_element(work.begin(), work.end());
    *least += ranges[range].work_bytes;
    owners[range] = static_cast<int>(least - work.begin());
  }
  return owners;
}

/// What each range came to; summed over ranks, every rank knows all.
struct Tally {
  explicit Tally(std::size_t num_ranges) : counts(2 * num_ranges + 2, 0) {}
  std::int64_t& tokens(std::size_t range) { return counts[2 * range]; }
  std::int64_t& documents(std::size_t range) { return counts[2 * range + 1]; }
  std::int64_t& text_bytes() { return counts[counts.size() - 2]; }
  std::int64_t& skipped() { return counts[counts.size() - 1]; }
  std::vector<std::int64_t> counts;
};

/// One rank's share of the work.
class ShareWriter {
 public:
  ShareWriter(const PrepareOptions& options, const std::vector<TextSource>& sources, const Tokenizer& tokenizer,
              const PrepareFolder& folder, int rank)
      : options_(options),
        sources_(sources),
        tokenizer_(tokenizer),
        folder_(folder),
        tokens_(folder.tokens_of(rank), NumberFile::Mode::write),
        lengths_(folder.lengths_of(rank), NumberFile::Mode::write) {}

  /// @param report  called about every kSecondsBetweenReports with documents and bytes done so far.
  void run(const std::vector<ByteRange>& ranges, const std::vector<int>& owners, int rank, Tally& tally,
           const std::function<void(std::int64_t, std::int64_t)>& report) {
    auto last_report = Clock::now();
    std::int64_t bytes_before = 0, documents = 0;
    for (std::size_t range = 0; range < ranges.size(); ++range) {
      if (owners[range] != rank) continue;
      DocumentReader reader(sources_[ranges[range].source], options_.format, ranges[range]);
      while (reader.next(document_)) {
        write_document(ranges[range].source, range, tally);
        ++documents;
        if (seconds_since(last_report) < kSecondsBetweenReports) continue;
        last_report = Clock::now();
        report(documents, bytes_before + std::min(reader.bytes_read(), ranges[range].work_bytes));
        if (folder_.is_marked_failed()) return;  // another rank's error is what all will throw
      }
      tally.skipped() += reader.num_skipped();
      bytes_before += ranges[range].work_bytes;
    }
    tokens_.close();
    lengths_.close();
  }

 private:
  void write_document(std::size_t source, std::size_t range, Tally& tally) {
    ids_.clear();
    append_document(tokenizer_, document_.text,
                    choose_cuts(options_.fill_in_middle, source, document_.offset, document_.text), ids_);
    const auto length = static_cast<std::int64_t>(ids_.size());
    tokens_.write(std::as_bytes(std::span(ids_)));
    lengths_.write(std::as_bytes(std::span(&length, 1)));
    tally.tokens(range) += length;
    tally.documents(range) += 1;
    tally.text_bytes() += static_cast<std::int64_t>(document_.text.size());
  }

  const PrepareOptions& options_;
  const std::vector<TextSource>& sources_;
  const Tokenizer& tokenizer_;
  const PrepareFolder& folder_;
  NumberFile tokens_, lengths_;
  Document document_;
  std::vector<std::int32_t> ids_;
};

/// Reads `count` numbers of each range from its owner's file, in the order of the ranges.
template <class Number, class Name, class Count, class Use>
void read_in_order(const std::vector<int>& owners, int num_ranks, const Name& file_of, const Count& count_of,
                   const Use& use) {
  std::vector<NumberFile> files;
  for (int rank = 0; rank < num_ranks; ++rank) files.emplace_back(file_of(rank), NumberFile::Mode::read);
  std::vector<Number> chunk(kChunkNumbers);
  for (std::size_t range = 0; range < owners.size(); ++range)
    for (std::int64_t left = count_of(range); left > 0;) {
      const auto part = std::min<std::int64_t>(left, static_cast<std::int64_t>(chunk.size()));
      const std::span numbers = std::span(chunk).first(static_cast<std::size_t>(part));
      files[static_cast<std::size_t>(owners[range])].read(std::as_writable_bytes(numbers));
      use(numbers);
      left -= part;
    }
}

/// Rank 0: the parts as one token file, under its final name.
void join_parts(const PrepareOptions& options, const PrepareFolder& folder, const TokenFileInfo& info,
                const std::vector<int>& owners, int num_ranks, Tally& tally) {
  {
    TokenFileWriter writer(folder.result(), info);
    read_in_order<std::int32_t>(
        owners, num_ranks, [&](int rank) { return folder.tokens_of(rank); },
        [&](std::size_t range) { return tally.tokens(range); },
        [&](std::span<const std::int32_t> tokens) { writer.append_tokens(tokens); });
    std::int64_t end = 0;
    read_in_order<std::int64_t>(
        owners, num_ranks, [&](int rank) { return folder.lengths_of(rank); },
        [&](std::size_t range) { return tally.documents(range); },
        [&](std::span<std::int64_t> lengths) {
          for (std::int64_t& length : lengths) length = end += length;
          writer.append_document_ends(lengths);
        });
    writer.finish();
  }
  std::error_code error;
  fs::rename(folder.result(), options.output, error);
  if (error) throw DataError(fmt::format("{}: cannot be put in place: {}", options.output, error.message()));
}

}  // namespace

PrepareResult prepare_token_file(const PrepareOptions& options, const Tokenizer& tokenizer, HostGroup& group,
                                 const std::function<void(const PrepareProgress&)>& progress) {
  const auto start = Clock::now();
  std::vector<TextSource> sources;
  attempt_together(group, [&] { sources = find_sources(options, tokenizer); }).raise();
  TokenFileInfo info{.tokenizer = std::string(tokenizer.kind()),
                     .tokenizer_hash = tokenizer.content_hash(),
                     .vocab_size = tokenizer.vocab_size(),
                     .eos_id = tokenizer.eos_id(),
                     .origin = origin_of(options, sources, tokenizer)};
  group.check_same("inputs and options of prepare", stable_hash(info.origin + options.output));

  const std::vector<ByteRange> ranges = cut_into_ranges(sources, options.format, kRangeBytes);
  const std::vector<int> owners = share_out(ranges, group.size());
  const PrepareFolder folder(options.output);
  Tally tally(ranges.size());
  try {
    on_first_rank(group, [&] { folder.make(); });
    std::int64_t own_bytes = 0, all_bytes = 0;
    for (std::size_t range = 0; range < ranges.size(); ++range) {
      all_bytes += ranges[range].work_bytes;
      if (owners[range] == group.rank()) own_bytes += ranges[range].work_bytes;
    }
    const auto report = [&](std::int64_t documents, std::int64_t bytes) {
      if (!progress || group.rank() != 0) return;
      const double seconds = seconds_since(start), done = static_cast<double>(bytes) / static_cast<double>(own_bytes);
      progress({documents, done, done * static_cast<double>(all_bytes) / seconds,
                done > 0.0 ? seconds * (1.0 - done) / done : 0.0});
    };
    attempt_together(group, [&] {
      try {
        ShareWriter(options, sources, tokenizer, folder, group.rank()).run(ranges, owners, group.rank(), tally, report);
      } catch (...) {
        folder.mark_failed();
        throw;
      }
    }).raise();
    group.sum(std::span(tally.counts));
    for (std::size_t range = 0; range < ranges.size(); ++range) {
      info.num_tokens += tally.tokens(range);
      info.num_documents += tally.documents(range);
    }
    info.text_bytes = tally.text_bytes();
    if (info.num_documents == 0)
      throw ConfigError(fmt::format("{}: no text in {}: every document is empty; is this the right file{}?",
                                    options.output, fmt::join(options.inputs, ", "),
                                    sources[0].is_jsonl ? " and data.text_field" : ""));
    on_first_rank(group, [&] { join_parts(options, folder, info, owners, group.size(), tally); });
  } catch (...) {
    // Every rank is here: all errors above are agreed on.
    group.barrier();
    if (group.rank() == 0) folder.remove();
    group.barrier();
    throw;
  }
  if (group.rank() == 0) folder.remove();
  group.barrier();
  return {info.num_documents, info.num_tokens, info.text_bytes, tally.skipped(), seconds_since(start)};
}

bool is_prepared(const PrepareOptions& options, const Tokenizer& tokenizer) {
  const std::vector<TextSource> sources = find_sources(options, tokenizer);
  if (!fs::exists(options.output)) return false;
  try {
    return TokenFile(options.output).info().origin == origin_of(options, sources, tokenizer);
  } catch (const DataError&) {
    return false;  // damaged: to be made again
  }
}

}  // namespace athanor
