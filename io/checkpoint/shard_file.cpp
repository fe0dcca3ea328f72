#include "io/checkpoint/shard_file.hpp"

#include <fcntl.h>
#include <unistd.h>
#include <xxhash.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <map>

#include "io/hdf5/file.hpp"
#include "src/base/error.hpp"

namespace athanor {
namespace {

constexpr std::size_t kTransferBytes = std::size_t{16} << 20;

std::string hex(const XXH128_hash_t& hash) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  for (const std::uint64_t half : {hash.high64, hash.low64})
    for (int shift = 60; shift >= 0; shift -= 4) text += kDigits[(half >> shift) & 15U];
  return text;
}

class Descriptor {
 public:
  Descriptor(const std::filesystem::path& path, int flags) : path_(path), id_(::open(path.c_str(), flags)) {
    if (id_ < 0) throw DataError("checkpoint: opening " + path_.string() + " failed: " + std::strerror(errno));
  }
  ~Descriptor() { ::close(id_); }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;

  void write_at(const std::byte* data, std::size_t bytes, std::int64_t offset) const {
    while (bytes > 0) {
      const ssize_t count = ::pwrite(id_, data, std::min(bytes, kTransferBytes), offset);
      if (count < 0 && errno == EINTR) continue;
      if (count < 0) throw DataError("checkpoint: writing " + path_.string() + " failed: " + std::strerror(errno));
      data += count;
      bytes -= static_cast<std::size_t>(count);
      offset += count;
    }
  }
  void read_at(std::byte* data, std::size_t bytes, std::int64_t offset) const {
    while (bytes > 0) {
      const ssize_t count = ::pread(id_, data, std::min(bytes, kTransferBytes), offset);
      if (count < 0 && errno == EINTR) continue;
      if (count < 0) throw DataError("checkpoint: reading " + path_.string() + " failed: " + std::strerror(errno));
      if (count == 0) throw DataError("checkpoint: " + path_.string() + " is truncated");
      data += count;
      bytes -= static_cast<std::size_t>(count);
      offset += count;
    }
  }
  void sync() const {
    if (::fsync(id_) != 0)
      throw DataError("checkpoint: syncing " + path_.string() + " failed: " + std::strerror(errno));
  }

 private:
  std::filesystem::path path_;
  int id_;
};

}  // namespace

std::string checksum_of(const std::byte* data, std::size_t bytes) { return hex(XXH3_128bits(data, bytes)); }

ManifestFile write_shard_file(const std::filesystem::path& path, const std::vector<HostPiece>& pieces) {
  ManifestFile entry{path.filename().string(), 0, {}};
  {
    auto file = hdf5::File::create(path);
    std::map<std::string, int> pieces_of_tensor;
    for (const HostPiece& piece : pieces) {
      // A tensor's second and later rectangles on this rank get a number.
      const int number = pieces_of_tensor[piece.spec.name]++;
      const std::string dataset = "/" + piece.spec.name + (number == 0 ? "" : "#" + std::to_string(number));
      const auto stored = file.create_dataset(dataset, piece.spec.dtype, piece.spec.extent);
      entry.pieces.push_back({piece.spec, dataset, stored.file_offset(), {}});
    }
    file.close();
  }
  const Descriptor file(path, O_RDWR);
  for (std::size_t i = 0; i < pieces.size(); ++i) {
    const std::size_t bytes = entry.pieces[i].bytes();
    file.write_at(pieces[i].data, bytes, entry.pieces[i].file_offset);
    entry.pieces[i].checksum = checksum_of(pieces[i].data, bytes);
  }
  file.sync();
  entry.size = static_cast<std::int64_t>(std::filesystem::file_size(path));
  return entry;
}

void read_piece(const std::filesystem::path& path, const ManifestPiece& piece, std::byte* into) {
  const Descriptor file(path, O_RDONLY);
  file.read_at(into, piece.bytes(), piece.file_offset);
  if (const std::string found = checksum_of(into, piece.bytes()); found != piece.checksum)
    throw DataError("checkpoint: " + path.string() + " is damaged: tensor " + piece.spec.name + " at " +
                    piece.spec.offset.to_string() + " has checksum " + found + ", the manifest says " + piece.checksum);
}

}  // namespace athanor
