// HDF5 files and datasets in the house's types. Law: shapes are athanor::Shape, element types DType, bytes row-major in
// native order; names are paths inside the file, missing groups on the way are made. Every error is a DataError that
// names file and object. bf16 is stored as a true 16-bit float (8 exponent, 7 mantissa bits), so any HDF5 tool converts
// it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "io/hdf5/handle.hpp"
#include "src/base/dtype.hpp"
#include "src/base/shape.hpp"
#include "src/base/shard_spec.hpp"

namespace athanor::hdf5 {

class Dataset {
 public:
  const Shape& shape() const { return shape_; }
  DType dtype() const { return dtype_; }

  /// Whole dataset; `bytes` has exactly its size.
  void write(std::span<const std::byte> bytes);
  void read(std::span<std::byte> bytes) const;
  /// A rectangle, row-major in `bytes`.
  void write_box(const Box& box, std::span<const std::byte> bytes);
  void read_box(const Box& box, std::span<std::byte> bytes) const;
  /// Rows [begin, begin + count) of dim 0.
  void read_rows(std::int64_t begin, std::int64_t count, std::span<std::byte> bytes) const;
  /// The same converted by HDF5 to another type.
  void read_as(DType dtype, std::span<std::byte> bytes) const;
  /// Adds rows to the end of an extendable dataset.
  void append_rows(std::span<const std::byte> bytes);
  /// Where a contiguous dataset's bytes begin in the file. @throws DataError when it has no storage of that kind.
  std::int64_t file_offset() const;

 private:
  friend class File;
  Dataset(Handle handle, std::string name);
  Box row_box(std::int64_t begin, std::int64_t count) const;
  void transfer(const Box& box, std::size_t bytes, bool writing, void* data) const;

  Handle handle_;
  std::string name_;  ///< file and path, for messages
  Shape shape_;
  DType dtype_ = DType::f32;
};

/// One source of a virtual dataset: the whole of `dataset` in `file` (a name relative to the virtual file's folder)
/// appears at `box`.
struct VirtualPiece {
  std::string file, dataset;
  Box box;
};

class File {
 public:
  /// A new file; an old one of that name is replaced. The first `user_block_bytes` (0, or a power of two from 512 up)
  /// are left to the caller: HDF5 readers skip them.
  static File create(const std::filesystem::path& path, std::size_t user_block_bytes = 0);
  static File open_read_only(const std::filesystem::path& path);

  /// Contiguous storage, allocated at once and not filled: file_offset() is valid after creation.
  Dataset create_dataset(const std::string& name, DType dtype, const Shape& shape);
  /// Extendable in dim 0, in chunks of `chunk_rows`; starts with no rows. deflate_level 0: uncompressed.
  Dataset create_extendable(const std::string& name, DType dtype, Shape row_shape, std::int64_t chunk_rows,
                            int deflate_level);
  /// A dataset that shows pieces of other files as one array; places that no piece covers, and pieces whose file is
  /// gone, read as NaN (0 for integers).
  void create_virtual(const std::string& name, DType dtype, const Shape& shape, std::span<const VirtualPiece> pieces);
  Dataset open_dataset(const std::string& name) const;

  bool contains(const std::string& name) const;
  /// Paths of all datasets in the file, in order of name.
  std::vector<std::string> dataset_names() const;

  /// A text (UTF-8) as a scalar dataset.
  void write_text(const std::string& name, const std::string& text);
  std::string read_text(const std::string& name) const;
  /// Attributes of an object ("/" is the file).
  void write_attribute(const std::string& object, const std::string& name, const std::string& value);
  void write_attribute(const std::string& object, const std::string& name, std::int64_t value);
  void write_attribute(const std::string& object, const std::string& name, double value);
  std::string read_text_attribute(const std::string& object, const std::string& name) const;
  std::int64_t read_integer_attribute(const std::string& object, const std::string& name) const;
  double read_real_attribute(const std::string& object, const std::string& name) const;

  /// Closes now, where a failure matters. Datasets of the file have to be gone before: HDF5 keeps it open for them.
  /// @throws DataError, e.g. when the disk is full.
  void close();
  const std::filesystem::path& path() const { return path_; }

 private:
  File(Handle handle, std::filesystem::path path) : handle_(std::move(handle)), path_(std::move(path)) {}
  std::string in_file(const std::string& name) const { return name + " in " + path_.string(); }
  Handle open_attribute(const std::string& object, const std::string& name) const;

  Handle handle_;
  std::filesystem::path path_;
};

}  // namespace athanor::hdf5
