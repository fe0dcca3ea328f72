#include "io/hdf5/file.hpp"

#include <limits>

#include "io/hdf5/types.hpp"
#include "src/base/error.hpp"

namespace athanor::hdf5 {
namespace {

/// A link creation list that makes missing groups.
Handle make_groups_on_the_way() {
  Handle list(check_id(H5Pcreate(H5P_LINK_CREATE), "making a property list"), H5Pclose);
  check(H5Pset_create_intermediate_group(list.id(), 1), "asking for groups on the way");
  return list;
}

Handle creation_list() { return {check_id(H5Pcreate(H5P_DATASET_CREATE), "making a property list"), H5Pclose}; }

Handle variable_text_type() {
  Handle type(check_id(H5Tcopy(H5T_C_S1), "copying a type"), H5Tclose);
  check(H5Tset_size(type.id(), H5T_VARIABLE), "describing text");
  check(H5Tset_cset(type.id(), H5T_CSET_UTF8), "describing text");
  return type;
}

std::string take_text(char* text) {
  std::string copy = text != nullptr ? text : "";
  H5free_memory(text);
  return copy;
}

herr_t collect_dataset(hid_t, const char* name, const H5O_info_t* info, void* names) {
  if (info->type == H5O_TYPE_DATASET) static_cast<std::vector<std::string>*>(names)->push_back(std::string("/") + name);
  return 0;
}

}  // namespace

// ---- Dataset

Dataset::Dataset(Handle handle, std::string name) : handle_(std::move(handle)), name_(std::move(name)) {
  const Handle space(check_id(H5Dget_space(handle_.id()), "reading the shape of " + name_), H5Sclose);
  shape_ = shape_of_space(space.id(), name_);
  const Handle type(check_id(H5Dget_type(handle_.id()), "reading the type of " + name_), H5Tclose);
  dtype_ = dtype_of_type(type.id(), name_);
}

Box Dataset::row_box(std::int64_t begin, std::int64_t count) const {
  Box box{shape_, shape_};
  for (int d = 0; d < shape_.ndim(); ++d) box.offset[d] = 0;
  box.offset[0] = begin;
  box.extent[0] = count;
  return box;
}

void Dataset::transfer(const Box& box, std::size_t bytes, bool writing, void* data) const {
  const auto lock = library_lock();
  const std::string what = std::string(writing ? "writing " : "reading ") + name_;
  const auto wanted = static_cast<std::size_t>(box.extent.numel()) * size_bytes(dtype_);
  if (bytes != wanted)
    throw DataError("HDF5: " + what + ": the box " + box.extent.to_string() + " has " + std::to_string(wanted) +
                    " bytes, the buffer " + std::to_string(bytes));
  const Handle type = make_type(dtype_), memory = make_space(box.extent);
  const Handle space(check_id(H5Dget_space(handle_.id()), what), H5Sclose);
  if (box.extent.ndim() > 0)
    check(H5Sselect_hyperslab(space.id(), H5S_SELECT_SET, to_dims(box.offset).data(), nullptr,
                              to_dims(box.extent).data(), nullptr),
          what);
  check(writing ? H5Dwrite(handle_.id(), type.id(), memory.id(), space.id(), H5P_DEFAULT, data)
                : H5Dread(handle_.id(), type.id(), memory.id(), space.id(), H5P_DEFAULT, data),
        what);
}

void Dataset::write(std::span<const std::byte> bytes) { write_box(whole("", dtype_, shape_).box(), bytes); }
void Dataset::read(std::span<std::byte> bytes) const { read_box(whole("", dtype_, shape_).box(), bytes); }

void Dataset::write_box(const Box& box, std::span<const std::byte> bytes) {
  transfer(box, bytes.size(), true, const_cast<std::byte*>(bytes.data()));
}
void Dataset::read_box(const Box& box, std::span<std::byte> bytes) const {
  transfer(box, bytes.size(), false, bytes.data());
}
void Dataset::read_rows(std::int64_t begin, std::int64_t count, std::span<std::byte> bytes) const {
  read_box(row_box(begin, count), bytes);
}

void Dataset::read_as(DType dtype, std::span<std::byte> bytes) const {
  const auto lock = library_lock();
  if (bytes.size() != static_cast<std::size_t>(shape_.numel()) * size_bytes(dtype))
    throw DataError("HDF5: reading " + name_ + ": the buffer does not fit " + shape_.to_string());
  const Handle type = make_type(dtype);
  check(H5Dread(handle_.id(), type.id(), H5S_ALL, H5S_ALL, H5P_DEFAULT, bytes.data()), "reading " + name_);
}

void Dataset::append_rows(std::span<const std::byte> bytes) {
  const auto lock = library_lock();
  const std::size_t row_bytes = static_cast<std::size_t>(row_box(0, 1).extent.numel()) * size_bytes(dtype_);
  if (row_bytes == 0 || bytes.size() % row_bytes != 0)
    throw DataError("HDF5: appending to " + name_ + ": " + std::to_string(bytes.size()) +
                    " bytes are no whole number of rows of " + std::to_string(row_bytes) + " bytes");
  const auto count = static_cast<std::int64_t>(bytes.size() / row_bytes), begin = shape_[0];
  if (count == 0) return;
  Shape longer = shape_;
  longer[0] += count;
  check(H5Dset_extent(handle_.id(), to_dims(longer).data()), "extending " + name_);
  shape_ = longer;
  write_box(row_box(begin, count), bytes);
}

std::int64_t Dataset::file_offset() const {
  const auto lock = library_lock();
  if (shape_.numel() == 0) return 0;
  const haddr_t offset = H5Dget_offset(handle_.id());
  if (offset == HADDR_UNDEF) throw DataError("HDF5: " + name_ + " is not stored in one contiguous piece");
  return static_cast<std::int64_t>(offset);
}

// ---- File

File File::create(const std::filesystem::path& path, std::size_t user_block_bytes) {
  const auto lock = library_lock();
  const Handle creation(check_id(H5Pcreate(H5P_FILE_CREATE), "making a property list"), H5Pclose),
      access(check_id(H5Pcreate(H5P_FILE_ACCESS), "making a property list"), H5Pclose);
  check(H5Pset_userblock(creation.id(), user_block_bytes), "leaving room for a user block in " + path.string());
  // Large pieces start on a page, so that writes past HDF5 are aligned. (HDF5 refuses user blocks below the alignment.)
  if (user_block_bytes == 0) check(H5Pset_alignment(access.id(), 64 * 1024, 4096), "asking for alignment");
  return {
      Handle(check_id(H5Fcreate(path.c_str(), H5F_ACC_TRUNC, creation.id(), access.id()), "creating " + path.string()),
             H5Fclose),
      path};
}

File File::open_read_only(const std::filesystem::path& path) {
  const auto lock = library_lock();
  return {Handle(check_id(H5Fopen(path.c_str(), H5F_ACC_RDONLY, H5P_DEFAULT), "opening " + path.string()), H5Fclose),
          path};
}

Dataset File::create_dataset(const std::string& name, DType dtype, const Shape& shape) {
  const auto lock = library_lock();
  const Handle type = make_type(dtype), space = make_space(shape), links = make_groups_on_the_way(),
               list = creation_list();
  check(H5Pset_layout(list.id(), H5D_CONTIGUOUS), "asking for contiguous storage");
  check(H5Pset_alloc_time(list.id(), H5D_ALLOC_TIME_EARLY), "asking for early allocation");
  check(H5Pset_fill_time(list.id(), H5D_FILL_TIME_NEVER), "asking for no fill");
  return {
      Handle(check_id(H5Dcreate2(handle_.id(), name.c_str(), type.id(), space.id(), links.id(), list.id(), H5P_DEFAULT),
                      "creating " + in_file(name)),
             H5Dclose),
      in_file(name)};
}

Dataset File::create_extendable(const std::string& name, DType dtype, Shape row_shape, std::int64_t chunk_rows,
                                int deflate_level) {
  const auto lock = library_lock();
  Shape start{0}, chunk{chunk_rows};
  for (int d = 0; d < row_shape.ndim(); ++d) {
    start.push_back(row_shape[d]);
    chunk.push_back(row_shape[d]);
  }
  Dims most = to_dims(start);
  most[0] = H5S_UNLIMITED;
  const Handle type = make_type(dtype), links = make_groups_on_the_way(), list = creation_list();
  const Handle space(check_id(H5Screate_simple(start.ndim(), to_dims(start).data(), most.data()), "making a space"),
                     H5Sclose);
  check(H5Pset_chunk(list.id(), chunk.ndim(), to_dims(chunk).data()), "asking for chunks");
  if (deflate_level > 0)
    check(H5Pset_deflate(list.id(), static_cast<unsigned>(deflate_level)), "asking for compression");
  return {
      Handle(check_id(H5Dcreate2(handle_.id(), name.c_str(), type.id(), space.id(), links.id(), list.id(), H5P_DEFAULT),
                      "creating " + in_file(name)),
             H5Dclose),
      in_file(name)};
}

void File::create_virtual(const std::string& name, DType dtype, const Shape& shape,
                          std::span<const VirtualPiece> pieces) {
  const auto lock = library_lock();
  const Handle type = make_type(dtype), space = make_space(shape), links = make_groups_on_the_way(),
               list = creation_list();
  for (const VirtualPiece& piece : pieces) {
    const Handle place = make_space(shape), source = make_space(piece.box.extent);
    if (shape.ndim() > 0)
      check(H5Sselect_hyperslab(place.id(), H5S_SELECT_SET, to_dims(piece.box.offset).data(), nullptr,
                                to_dims(piece.box.extent).data(), nullptr),
            "placing a piece of " + in_file(name));
    check(H5Pset_virtual(list.id(), place.id(), piece.file.c_str(), piece.dataset.c_str(), source.id()),
          "adding a piece of " + in_file(name));
  }
  if (is_floating(dtype)) {
    const float nothing = std::numeric_limits<float>::quiet_NaN();
    check(H5Pset_fill_value(list.id(), H5T_NATIVE_FLOAT, &nothing), "setting the fill of " + in_file(name));
  }
  const Handle dataset(
      check_id(H5Dcreate2(handle_.id(), name.c_str(), type.id(), space.id(), links.id(), list.id(), H5P_DEFAULT),
               "creating " + in_file(name)),
      H5Dclose);
}

Dataset File::open_dataset(const std::string& name) const {
  const auto lock = library_lock();
  return {Handle(check_id(H5Dopen2(handle_.id(), name.c_str(), H5P_DEFAULT), "opening " + in_file(name)), H5Dclose),
          in_file(name)};
}

bool File::contains(const std::string& name) const {
  const auto lock = library_lock();
  // Every link on the way has to exist before the last may be asked for.
  for (std::size_t end = name.find('/', 1); end != std::string::npos; end = name.find('/', end + 1))
    if (H5Lexists(handle_.id(), name.substr(0, end).c_str(), H5P_DEFAULT) <= 0) return false;
  return H5Lexists(handle_.id(), name.c_str(), H5P_DEFAULT) > 0;
}

std::vector<std::string> File::dataset_names() const {
  const auto lock = library_lock();
  std::vector<std::string> names;
  check(H5Ovisit2(handle_.id(), H5_INDEX_NAME, H5_ITER_INC, collect_dataset, &names, H5O_INFO_BASIC),
        "listing " + path_.string());
  return names;
}

void File::write_text(const std::string& name, const std::string& text) {
  const auto lock = library_lock();
  const Handle type = variable_text_type(), space = make_space({}), links = make_groups_on_the_way();
  const Handle dataset(
      check_id(H5Dcreate2(handle_.id(), name.c_str(), type.id(), space.id(), links.id(), H5P_DEFAULT, H5P_DEFAULT),
               "creating " + in_file(name)),
      H5Dclose);
  const char* data = text.c_str();
  check(H5Dwrite(dataset.id(), type.id(), H5S_ALL, H5S_ALL, H5P_DEFAULT, &data), "writing " + in_file(name));
}

std::string File::read_text(const std::string& name) const {
  const auto lock = library_lock();
  const Handle dataset(check_id(H5Dopen2(handle_.id(), name.c_str(), H5P_DEFAULT), "opening " + in_file(name)),
                       H5Dclose);
  const Handle type = variable_text_type();
  char* text = nullptr;
  check(H5Dread(dataset.id(), type.id(), H5S_ALL, H5S_ALL, H5P_DEFAULT, &text), "reading " + in_file(name));
  return take_text(text);
}

// ---- attributes

namespace {
void write_attribute_value(hid_t file, const std::string& object, const std::string& name, hid_t type,
                           const void* value) {
  const Handle owner(check_id(H5Oopen(file, object.c_str(), H5P_DEFAULT), "opening " + object), H5Oclose);
  const Handle space = make_space({});
  const Handle attribute(check_id(H5Acreate2(owner.id(), name.c_str(), type, space.id(), H5P_DEFAULT, H5P_DEFAULT),
                                  "creating attribute " + name + " of " + object),
                         H5Aclose);
  check(H5Awrite(attribute.id(), type, value), "writing attribute " + name + " of " + object);
}
}  // namespace

void File::write_attribute(const std::string& object, const std::string& name, const std::string& value) {
  const auto lock = library_lock();
  const char* data = value.c_str();
  write_attribute_value(handle_.id(), object, name, variable_text_type().id(), &data);
}
void File::write_attribute(const std::string& object, const std::string& name, std::int64_t value) {
  const auto lock = library_lock();
  write_attribute_value(handle_.id(), object, name, H5T_NATIVE_INT64, &value);
}
void File::write_attribute(const std::string& object, const std::string& name, double value) {
  const auto lock = library_lock();
  write_attribute_value(handle_.id(), object, name, H5T_NATIVE_DOUBLE, &value);
}

Handle File::open_attribute(const std::string& object, const std::string& name) const {
  return {check_id(H5Aopen_by_name(handle_.id(), object.c_str(), name.c_str(), H5P_DEFAULT, H5P_DEFAULT),
                   "opening attribute " + name + " of " + in_file(object)),
          H5Aclose};
}

std::string File::read_text_attribute(const std::string& object, const std::string& name) const {
  const auto lock = library_lock();
  const Handle attribute = open_attribute(object, name), type = variable_text_type();
  char* text = nullptr;
  check(H5Aread(attribute.id(), type.id(), &text), "reading attribute " + name + " of " + in_file(object));
  return take_text(text);
}
std::int64_t File::read_integer_attribute(const std::string& object, const std::string& name) const {
  const auto lock = library_lock();
  const Handle attribute = open_attribute(object, name);
  std::int64_t value = 0;
  check(H5Aread(attribute.id(), H5T_NATIVE_INT64, &value), "reading attribute " + name + " of " + in_file(object));
  return value;
}
double File::read_real_attribute(const std::string& object, const std::string& name) const {
  const auto lock = library_lock();
  const Handle attribute = open_attribute(object, name);
  double value = 0;
  check(H5Aread(attribute.id(), H5T_NATIVE_DOUBLE, &value), "reading attribute " + name + " of " + in_file(object));
  return value;
}

void File::close() { handle_.release("closing " + path_.string()); }

}  // namespace athanor::hdf5
