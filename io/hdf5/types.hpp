// Element types and dataspaces between the house and HDF5.
#pragma once

#include <array>
#include <string>

#include "io/hdf5/handle.hpp"
#include "src/base/dtype.hpp"
#include "src/base/shape.hpp"

namespace athanor::hdf5 {

/// The HDF5 type of a DType: native numbers; bf16 as a 16-bit float.
Handle make_type(DType dtype);
/// Inverse. @throws DataError naming `what` when the file holds another kind of element.
DType dtype_of_type(hid_t type, const std::string& what);

using Dims = std::array<hsize_t, Shape::kMaxDims>;
Dims to_dims(const Shape& shape);
/// A dataspace of that shape (scalar for no dims).
Handle make_space(const Shape& shape);
Shape shape_of_space(hid_t space, const std::string& what);

}  // namespace athanor::hdf5
