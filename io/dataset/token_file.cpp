#include "io/dataset/token_file.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>
#include <xxhash.h>

#include <algorithm>
#include <charconv>
#include <cstring>
#include <vector>

#include "src/base/error.hpp"

namespace athanor {
namespace {

constexpr std::int64_t kFormatVersion = 1;
constexpr std::string_view kSignature = "\x89HDF\r\n\x1a\n";

/// The size the file had when HDF5 closed it, from its superblock (HDF5 file format specification, section II.A).
/// @returns -1 when the bytes are no HDF5 file.
std::int64_t closed_size(std::span<const std::byte> bytes) {
  if (bytes.size() < 48 || std::memcmp(bytes.data(), kSignature.data(), kSignature.size()) != 0) return -1;
  const auto version = static_cast<unsigned>(bytes[8]);
  const std::size_t field = version < 2 ? 40 : 28;
  std::int64_t size = 0;
  std::memcpy(&size, bytes.data() + field, sizeof size);
  return size;
}

void flush_to_disk(const std::string& path) {
  const int file = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  const bool flushed = file >= 0 && fsync(file) == 0;
  if (file >= 0) close(file);
  if (!flushed) throw DataError(fmt::format("{}: cannot be flushed to the disk: {}", path, std::strerror(errno)));
}

std::string hexadecimal(const XXH128_hash_t& hash) { return fmt::format("{:016x}{:016x}", hash.high64, hash.low64); }

}  // namespace

// ---- writing

struct TokenFileWriter::Checksum {
  Checksum() { XXH3_128bits_reset(state); }
  Checksum(const Checksum&) = delete;
  Checksum& operator=(const Checksum&) = delete;
  ~Checksum() { XXH3_freeState(state); }
  void add(std::span<const std::byte> bytes) { XXH3_128bits_update(state, bytes.data(), bytes.size()); }
  XXH3_state_t* state = XXH3_createState();
};

TokenFileWriter::TokenFileWriter(const std::string& path, const TokenFileInfo& info)
    : info_(info),
      file_(hdf5::File::create(path)),
      tokens_(file_.create_dataset("/tokens", DType::i32, {info.num_tokens})),
      document_ends_(file_.create_dataset("/document_ends", DType::i64, {info.num_documents})),
      checksum_(std::make_unique<Checksum>()) {}

TokenFileWriter::~TokenFileWriter() = default;

void TokenFileWriter::append_tokens(std::span<const std::int32_t> tokens) {
  if (tokens.empty()) return;
  const auto count = static_cast<std::int64_t>(tokens.size());
  tokens_->write_box({{tokens_written_}, {count}}, std::as_bytes(tokens));
  tokens_written_ += count;
  checksum_->add(std::as_bytes(tokens));
}

void TokenFileWriter::append_document_ends(std::span<const std::int64_t> ends) {
  if (ends.empty()) return;
  const auto count = static_cast<std::int64_t>(ends.size());
  document_ends_->write_box({{ends_written_}, {count}}, std::as_bytes(ends));
  ends_written_ += count;
  checksum_->add(std::as_bytes(ends));
}

void TokenFileWriter::finish() {
  const std::string path = file_.path().string();
  if (tokens_written_ != info_.num_tokens || ends_written_ != info_.num_documents)
    throw DataError(fmt::format("{}: {} tokens and {} documents were promised, {} and {} written", path,
                                info_.num_tokens, info_.num_documents, tokens_written_, ends_written_));
  file_.write_text("/origin", info_.origin);
  const auto number = [&](const char* name, std::int64_t value) { file_.write_attribute("/tokens", name, value); };
  number("format_version", kFormatVersion);
  number("vocab_size", info_.vocab_size);
  number("eos_id", info_.eos_id);
  number("num_tokens", info_.num_tokens);
  number("num_documents", info_.num_documents);
  number("text_bytes", info_.text_bytes);
  file_.write_attribute("/tokens", "tokenizer", info_.tokenizer);
  file_.write_attribute("/tokens", "tokenizer_hash", fmt::format("{:016x}", info_.tokenizer_hash));
  file_.write_attribute("/tokens", "xxh3", hexadecimal(XXH3_128bits_digest(checksum_->state)));
  tokens_.reset();
  document_ends_.reset();
  file_.close();
  flush_to_disk(path);
}

// ---- reading

TokenFile::TokenFile(const std::string& path) : path_(path), mapping_(path) {
  const auto found_bytes = static_cast<std::int64_t>(mapping_.bytes().size());
  const std::int64_t wanted_bytes = closed_size(mapping_.bytes());
  if (wanted_bytes < 0)
    throw DataError(fmt::format(
        "{}: no token file (no HDF5 signature in its {} bytes); make one with `athanor prepare`", path, found_bytes));
  if (found_bytes < wanted_bytes)
    throw DataError(fmt::format("{}: cut short: wanted {} bytes, found {}; make it again with `athanor prepare`", path,
                                wanted_bytes, found_bytes));
  hdf5::File file = hdf5::File::open_read_only(path);
  if (!file.contains("/tokens") || !file.contains("/document_ends"))
    throw DataError(fmt::format("{}: no token file: /tokens or /document_ends is missing", path));
  const auto number = [&](const char* name) { return file.read_integer_attribute("/tokens", name); };
  if (const std::int64_t version = number("format_version"); version != kFormatVersion)
    throw DataError(fmt::format("{}: wanted format version {}, found {}; make it again with `athanor prepare`", path,
                                kFormatVersion, version));
  info_.tokenizer = file.read_text_attribute("/tokens", "tokenizer");
  const std::string hash = file.read_text_attribute("/tokens", "tokenizer_hash");
  std::from_chars(hash.data(), hash.data() + hash.size(), info_.tokenizer_hash, 16);
  info_.vocab_size = number("vocab_size");
  info_.eos_id = static_cast<std::int32_t>(number("eos_id"));
  info_.num_tokens = number("num_tokens");
  info_.num_documents = number("num_documents");
  info_.text_bytes = number("text_bytes");
  info_.checksum = file.read_text_attribute("/tokens", "xxh3");
  info_.origin = file.read_text("/origin");
  tokens_ = mapped_dataset(file, "/tokens", DType::i32, info_.num_tokens);
  document_ends_ = mapped_dataset(file, "/document_ends", DType::i64, info_.num_documents);
  if (info_.num_documents > 0 && document_end(info_.num_documents - 1) != info_.num_tokens)
    throw DataError(fmt::format("{}: the last document ends at token {}, but there are {}; the file is damaged", path,
                                document_end(info_.num_documents - 1), info_.num_tokens));
}

std::span<const std::byte> TokenFile::mapped_dataset(hdf5::File& file, const std::string& name, DType dtype,
                                                     std::int64_t count) const {
  const hdf5::Dataset dataset = file.open_dataset(name);
  if (dataset.dtype() != dtype || dataset.shape() != Shape{count})
    throw DataError(fmt::format("{}: {} wanted as {}[{}], found {}{}; the file is damaged", path_, name,
                                to_string(dtype), count, to_string(dataset.dtype()), dataset.shape().to_string()));
  const auto begin = static_cast<std::size_t>(dataset.file_offset());
  const std::size_t size = static_cast<std::size_t>(count) * size_bytes(dtype);
  if (begin + size > mapping_.bytes().size())
    throw DataError(fmt::format("{}: cut short: {} ends at byte {}, the file at {}", path_, name, begin + size,
                                mapping_.bytes().size()));
  return mapping_.bytes().subspan(begin, size);
}

void TokenFile::read_tokens(std::int64_t begin, std::span<std::int32_t> out) const {
  const auto end = begin + static_cast<std::int64_t>(out.size());
  if (begin < 0 || end > info_.num_tokens)
    throw Error(fmt::format("{}: tokens [{}, {}) of {}", path_, begin, end, info_.num_tokens));
  if (!out.empty())
    std::memcpy(out.data(), tokens_.data() + static_cast<std::size_t>(begin) * sizeof(std::int32_t), out.size_bytes());
}

std::int64_t TokenFile::document_end(std::int64_t document) const {
  if (document < 0 || document >= info_.num_documents)
    throw Error(fmt::format("{}: document {} of {}", path_, document, info_.num_documents));
  std::int64_t end = 0;
  std::memcpy(&end, document_ends_.data() + static_cast<std::size_t>(document) * sizeof end, sizeof end);
  return end;
}

void TokenFile::verify() const {
  XXH3_state_t* const state = XXH3_createState();
  XXH3_128bits_reset(state);
  XXH3_128bits_update(state, tokens_.data(), tokens_.size());
  XXH3_128bits_update(state, document_ends_.data(), document_ends_.size());
  const std::string checksum = hexadecimal(XXH3_128bits_digest(state));
  XXH3_freeState(state);
  if (checksum != info_.checksum)
    throw DataError(
        fmt::format("{}: its tokens have checksum {}, wanted {}: the file is damaged; make it again with "
                    "`athanor prepare`",
                    path_, checksum, info_.checksum));
  std::int64_t previous = 0;
  for (std::int64_t document = 0; document < info_.num_documents; ++document) {
    const std::int64_t end = document_end(document);
    if (end <= previous)
      throw DataError(fmt::format("{}: document {} ends at token {}, after token {}", path_, document, end, previous));
    previous = end;
  }
}

void check_tokenizer(const TokenFile& file, const Tokenizer& tokenizer) {
  const TokenFileInfo& info = file.info();
  if (info.tokenizer_hash != tokenizer.content_hash())
    throw ConfigError(
        fmt::format("{}: made with another tokenizer ({}, {} tokens, hash {:016x}) than the one in use ({}, "
                    "{} tokens, hash {:016x}); prepare it again or change data.tokenizer",
                    file.path(), info.tokenizer, info.vocab_size, info.tokenizer_hash, tokenizer.kind(),
                    tokenizer.vocab_size(), tokenizer.content_hash()));
}

}  // namespace athanor
