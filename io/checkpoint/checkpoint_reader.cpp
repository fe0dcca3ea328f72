#include "io/checkpoint/checkpoint_reader.hpp"

#include "io/checkpoint/shard_file.hpp"
#include "src/base/error.hpp"

namespace athanor {
namespace {

/// f32 <-> bf16 <-> f64 on the host.
double load_element(const std::byte* data, DType dtype, std::size_t i) {
  if (dtype == DType::f64) return reinterpret_cast<const double*>(data)[i];
  if (dtype == DType::f32) return static_cast<double>(reinterpret_cast<const float*>(data)[i]);
  return static_cast<double>(static_cast<float>(reinterpret_cast<const bf16*>(data)[i]));
}
void store_element(std::byte* data, DType dtype, std::size_t i, double value) {
  if (dtype == DType::f64)
    reinterpret_cast<double*>(data)[i] = value;
  else if (dtype == DType::f32)
    reinterpret_cast<float*>(data)[i] = static_cast<float>(value);
  else
    reinterpret_cast<bf16*>(data)[i] = bf16(static_cast<float>(value));
}

void convert(const std::vector<std::byte>& from, DType from_type, std::vector<std::byte>& to, DType to_type,
             std::size_t count) {
  to.resize(count * size_bytes(to_type));
  for (std::size_t i = 0; i < count; ++i) store_element(to.data(), to_type, i, load_element(from.data(), from_type, i));
}

}  // namespace

CheckpointReader::CheckpointReader(std::filesystem::path folder)
    : folder_(std::move(folder)), manifest_(read_index(folder_ / "index.h5")) {
  for (const ManifestFile& file : manifest_.files) {
    const auto path = folder_ / file.name;
    std::error_code missing;
    const auto size = std::filesystem::file_size(path, missing);
    if (missing) throw DataError("checkpoint: " + path.string() + " is missing (" + missing.message() + ")");
    if (static_cast<std::int64_t>(size) != file.size)
      throw DataError("checkpoint: " + path.string() + " has " + std::to_string(size) + " bytes, the manifest says " +
                      std::to_string(file.size));
    for (const ManifestPiece& piece : file.pieces) sources_[piece.spec.name].push_back({&file, &piece});
  }
}

const std::vector<CheckpointReader::Source>* CheckpointReader::sources_of(const std::string& tensor) const {
  const auto found = sources_.find(tensor);
  return found == sources_.end() ? nullptr : &found->second;
}

void CheckpointReader::check_tensors(std::span<const NamedShard> shards, const LoadOptions& options) const {
  for (const NamedShard& shard : shards) {
    const auto* sources = sources_of(shard.spec.name);
    const std::string where = " (checkpoint " + folder_.string() + ")";
    if (sources == nullptr)
      throw ConfigError("checkpoint: tensor " + shard.spec.name + " " + shard.spec.global.to_string() +
                        " is not in it; it was written by another model or without this state" + where);
    const ShardSpec& stored = sources->front().piece->spec;
    if (!(stored.global == shard.spec.global))
      throw ConfigError("checkpoint: tensor " + shard.spec.name + " has shape " + stored.global.to_string() +
                        ", the model wants " + shard.spec.global.to_string() +
                        "; use the configuration it was trained with" + where);
    if (stored.dtype != shard.spec.dtype &&
        !(options.convert_floats && is_floating(stored.dtype) && is_floating(shard.spec.dtype)))
      throw ConfigError("checkpoint: tensor " + shard.spec.name + " is " + std::string(to_string(stored.dtype)) +
                        ", the run wants " + std::string(to_string(shard.spec.dtype)) +
                        "; set run.dtype as when it was written" + where);
  }
}

void CheckpointReader::load(std::span<const NamedShard> shards, Backend& ops, Stream& stream,
                            const LoadOptions&) const {
  std::vector<std::byte> piece_bytes, converted, local;
  const ManifestPiece* in_buffer = nullptr;
  for (const NamedShard& shard : shards) {
    if (shard.spec.extent.numel() == 0) continue;
    const std::size_t element = size_bytes(shard.spec.dtype);
    local.resize(static_cast<std::size_t>(shard.spec.extent.numel()) * element);
    std::int64_t covered = 0;
    for (const Source& source : *sources_of(shard.spec.name)) {
      const ManifestPiece& piece = *source.piece;
      const auto common = intersect(shard.spec.box(), piece.spec.box());
      if (!common) continue;
      if (in_buffer != &piece) {
        in_buffer = nullptr;
        piece_bytes.resize(piece.bytes());
        read_piece(folder_ / source.file->name, piece, piece_bytes.data());
        in_buffer = &piece;
      }
      const std::byte* from = piece_bytes.data();
      if (piece.spec.dtype != shard.spec.dtype) {
        convert(piece_bytes, piece.spec.dtype, converted, shard.spec.dtype,
                static_cast<std::size_t>(piece.spec.extent.numel()));
        from = converted.data();
      }
      copy_box(*common, piece.spec.box(), from, shard.spec.box(), local.data(), element);
      covered += common->extent.numel();
    }
    if (covered != shard.spec.extent.numel())
      throw DataError("checkpoint: " + folder_.string() + " holds " + std::to_string(covered) + " of the " +
                      std::to_string(shard.spec.extent.numel()) + " elements wanted of tensor " + shard.spec.name);
    ops.upload(shard.local, local, stream);
  }
  stream.synchronize();
}

std::vector<std::string> CheckpointReader::verify_all() const {
  std::vector<std::string> bad;
  std::vector<std::byte> bytes;
  for (const ManifestFile& file : manifest_.files)
    for (const ManifestPiece& piece : file.pieces) {
      bytes.resize(piece.bytes());
      try {
        read_piece(folder_ / file.name, piece, bytes.data());
      } catch (const DataError& error) {
        bad.emplace_back(error.what());
      }
    }
  return bad;
}

}  // namespace athanor
