#include "io/hdf5/types.hpp"

#include "src/base/error.hpp"

namespace athanor::hdf5 {

Handle make_type(DType dtype) {
  const auto copy_of = [](hid_t native) { return Handle(check_id(H5Tcopy(native), "copying a type"), H5Tclose); };
  switch (dtype) {
    case DType::f64:
      return copy_of(H5T_NATIVE_DOUBLE);
    case DType::f32:
      return copy_of(H5T_NATIVE_FLOAT);
    case DType::i64:
      return copy_of(H5T_NATIVE_INT64);
    case DType::i32:
      return copy_of(H5T_NATIVE_INT32);
    case DType::u8:
      return copy_of(H5T_NATIVE_UINT8);
    case DType::bf16:
      break;
  }
  // Sign 1, exponent 8 (bias 127), mantissa 7. The fields are set while the type is still wide enough for the old ones.
  Handle type = copy_of(H5T_IEEE_F32LE);
  check(H5Tset_fields(type.id(), 15, 7, 8, 0, 7), "describing bf16");
  check(H5Tset_size(type.id(), 2), "describing bf16");
  check(H5Tset_ebias(type.id(), 127), "describing bf16");
  return type;
}

DType dtype_of_type(hid_t type, const std::string& what) {
  const std::size_t size = H5Tget_size(type);
  const H5T_class_t kind = H5Tget_class(type);
  if (kind == H5T_FLOAT) {
    if (size == 8) return DType::f64;
    if (size == 4) return DType::f32;
    std::size_t sign = 0, exponent = 0, exponent_bits = 0, mantissa = 0, mantissa_bits = 0;
    check(H5Tget_fields(type, &sign, &exponent, &exponent_bits, &mantissa, &mantissa_bits),
          "reading the type of " + what);
    if (size == 2 && exponent_bits == 8) return DType::bf16;
  }
  if (kind == H5T_INTEGER) {
    if (size == 8) return DType::i64;
    if (size == 4) return DType::i32;
    if (size == 1) return DType::u8;
  }
  throw DataError("HDF5: " + what + " holds elements of a kind this program does not use (" + std::to_string(size) +
                  " bytes)");
}

Dims to_dims(const Shape& shape) {
  Dims dims{};
  for (int d = 0; d < shape.ndim(); ++d) dims[static_cast<std::size_t>(d)] = static_cast<hsize_t>(shape[d]);
  return dims;
}

Handle make_space(const Shape& shape) {
  if (shape.ndim() == 0) return {check_id(H5Screate(H5S_SCALAR), "making a scalar space"), H5Sclose};
  return {check_id(H5Screate_simple(shape.ndim(), to_dims(shape).data(), nullptr),
                   "making a space of " + shape.to_string()),
          H5Sclose};
}

Shape shape_of_space(hid_t space, const std::string& what) {
  const int ndim = H5Sget_simple_extent_ndims(space);
  if (ndim < 0 || ndim > Shape::kMaxDims)
    throw DataError("HDF5: " + what + " has " + std::to_string(ndim) + " dims; at most 4 are used here");
  Dims dims{};
  check(H5Sget_simple_extent_dims(space, dims.data(), nullptr) < 0 ? -1 : 0, "reading the shape of " + what);
  Shape shape;
  for (int d = 0; d < ndim; ++d) shape.push_back(static_cast<std::int64_t>(dims[static_cast<std::size_t>(d)]));
  return shape;
}

}  // namespace athanor::hdf5
