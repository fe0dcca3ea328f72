// What a user may say about how tensors travel between ranks.
#pragma once

#include <cstdint>
#include <string_view>

namespace athanor {

enum class Transport : std::uint8_t {
  automatic,
  nccl,    ///< GPU to GPU; a GPU for every rank
  staged,  ///< through host memory and MPI; several ranks may share a GPU
  mpi      ///< tensors in host memory
};
/// "auto", "nccl", "staged", "mpi"
std::string_view to_string(Transport transport);

/// In which order sums of floating numbers run over ranks that talk by NCCL.
enum class RankSums : std::uint8_t {
  rank_order,  ///< the law of Communicator: bits as over MPI, whatever NCCL chooses
  nccl         ///< NCCL's own: fewer bytes read; repeats only while algorithm, protocol and layout stay
};

}  // namespace athanor
