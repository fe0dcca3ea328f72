// Which part of every bucket a rank owns. Law: rank d of the n ranks that share a bucket owns elements [d, d+1) *
// (length / n) of it: its summed gradient, its moments and its master weights live there and only there (ZeRO-1,
// Rajbhandari et al. 2020; slices of buckets as in Megatron's distributed optimizer). Who shares a bucket is said by
// its GradientGroup.
#pragma once

#include <cstdint>
#include <vector>

#include "parallel/process_mesh.hpp"
#include "src/nn/parameter.hpp"

namespace athanor {

struct OwnedSlice {
  std::size_t group;              ///< index into ParameterStore::groups()
  ParameterGroup::Bucket bucket;  ///< elements of the group's flat tensors
  std::int64_t begin, end;        ///< the owned elements of the same tensors
  Communicator* ranks;            ///< that share the bucket

  std::int64_t size() const { return end - begin; }
};

/// Who adds up the gradients of each GradientGroup.
struct ReductionRanks {
  Communicator &cut, &whole, &expert, &shared;

  explicit ReductionRanks(ProcessMesh& mesh)
      : cut(mesh.along(Axis::data)),
        whole(mesh.along(Axis::layer)),
        expert(mesh.along(Axis::edp)),
        shared(mesh.size(Axis::pp) > 1 ? mesh.ends() : mesh.along(Axis::data)) {}
  /// All groups alike.
  explicit ReductionRanks(Communicator& all) : cut(all), whole(all), expert(all), shared(all) {}

  Communicator& of(GradientGroup group) const;
  /// What ParameterStore::Options::pad_elements must be a multiple of, so that every bucket splits evenly.
  std::int64_t bucket_pad() const;
};

/// One slice a bucket, in order of groups and buckets. @throws Error when a bucket does not split evenly.
std::vector<OwnedSlice> owned_slices(const ParameterStore& store, const ReductionRanks& ranks);

}  // namespace athanor
