#include "io/checkpoint/shard_file.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "io/checkpoint/checksum.hpp"
#include "io/checkpoint/raw_file.hpp"
#include "io/hdf5/file.hpp"
#include "src/base/error.hpp"

namespace athanor {
namespace {

/// Bytes that are written and added to the checksum at a time.
constexpr std::size_t kBlockBytes = std::size_t{8} << 20;

/// Makes the file and its datasets. @returns an entry without checksums and size.
ManifestFile lay_out(const std::filesystem::path& path, std::span<const HostPiece> pieces) {
  ManifestFile entry{path.filename().string(), 0, {}};
  auto file = hdf5::File::create(path);
  std::map<std::string, int> rectangles_of;
  for (const HostPiece& piece : pieces) {
    // A tensor's second and later rectangles on this rank get a number.
    std::string dataset = "/" + piece.spec.name;
    if (const int number = rectangles_of[piece.spec.name]++; number > 0) dataset += fmt::format("#{}", number);
    const auto stored = file.create_dataset(dataset, piece.spec.dtype, piece.spec.extent);
    entry.pieces.push_back({piece.spec, dataset, stored.file_offset(), {}});
  }
  file.close();
  return entry;
}

std::string write_bytes(RawFile& file, std::span<const std::byte> bytes, std::int64_t offset) {
  Checksum checksum;
  for (std::size_t begin = 0; begin < bytes.size(); begin += kBlockBytes) {
    const auto block = bytes.subspan(begin, std::min(kBlockBytes, bytes.size() - begin));
    const std::int64_t place = offset + static_cast<std::int64_t>(begin);
    file.write_at(block, place);
    if (block.size() == kBlockBytes) file.start_writeback(place, static_cast<std::int64_t>(block.size()));
    checksum.update(block);
  }
  return checksum.hex();
}

}  // namespace

std::string shard_file_name(int rank) { return fmt::format("shard_{:05}.h5", rank); }

ManifestFile write_shard_file(const std::filesystem::path& path, std::span<const HostPiece> pieces) {
  ManifestFile entry = lay_out(path, pieces);
  auto file = RawFile::open_read_write(path);
  entry.size = file.size();
  file.reserve(entry.size);
  file.prefer_direct();
  for (std::size_t i = 0; i < pieces.size(); ++i) {
    ManifestPiece& piece = entry.pieces[i];
    piece.checksum = write_bytes(file, {pieces[i].data, piece.bytes()}, piece.file_offset);
  }
  file.sync();
  if (const std::int64_t size = file.size(); size != entry.size)
    throw DataError("writing " + path.string() + ": HDF5 laid out " + std::to_string(entry.size) +
                    " bytes, the file has " + std::to_string(size));
  return entry;
}

void read_piece(const std::filesystem::path& path, const ManifestPiece& piece, std::span<std::byte> into) {
  RawFile::open_read_only(path).read_at(into, piece.file_offset);
  if (const std::string found = checksum_of(into); found != piece.checksum)
    throw DataError("checkpoint: " + path.string() + " is damaged: tensor " + piece.spec.name + " at " +
                    piece.spec.offset.to_string() + " has checksum " + found + ", the manifest says " + piece.checksum);
}

}  // namespace athanor
