// The rules of the house that a compiler does not check, as functions over a source tree. Each returns one line a
// violation, "file:line: what", and an empty list when the tree obeys. Text is read line by line: no rule here needs
// more C++ than an #include or a word.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace athanor::structure {

using Violations = std::vector<std::string>;

/// Floors are src < parallel < io < jobs; a floor includes itself and the floors below it only, always by the path from
/// the root ("src/base/error.hpp").
Violations upward_includes(const std::filesystem::path& root);
/// src names no header of MPI, NCCL, HDF5 or Boost; MPI stays in parallel, HDF5 in io, Boost in io/options.
Violations foreign_includes(const std::filesystem::path& root);
/// Tensor::unsafe_data() is used by operations and communicators only: src/backend, parallel/mpi, parallel/nccl.
Violations stray_unsafe_data(const std::filesystem::path& root);
/// Every header begins its code with #pragma once; no source file is longer than 450 lines.
Violations file_forms(const std::filesystem::path& root);
/// The top level holds what DESIGN says it holds, and nothing else that git would track.
Violations top_level(const std::filesystem::path& root);
/// Every README.md below the root has at most 60 lines.
Violations long_readmes(const std::filesystem::path& root);

}  // namespace athanor::structure
