// Which part of every bucket a rank owns. Law: rank d of the n ranks that share a bucket owns elements [d, d+1) *
// (length / n) of it: its summed gradient, its moments and its master weights live there and only there (ZeRO-1,
// Rajbhandari et al. 2020; slices of buckets as in Megatron's distributed optimizer). Buckets of experts are shared by
// the ranks along edp, all others by those along dp.
#pragma once

#include <cstdint>
#include <vector>

#include "src/backend/communicator.hpp"
#include "src/nn/parameter.hpp"

namespace athanor {

struct OwnedSlice {
  std::size_t group;              ///< index into ParameterStore::groups()
  ParameterGroup::Bucket bucket;  ///< elements of the group's flat tensors
  std::int64_t begin, end;        ///< the owned elements of the same tensors
  Communicator* ranks;            ///< that share the bucket

  std::int64_t size() const { return end - begin; }
};

/// What ParameterStore::Options::pad_elements must be a multiple of.
std::int64_t bucket_pad(const Communicator& dp, const Communicator& edp);

/// One slice a bucket, in order of groups and buckets. @throws Error when a bucket does not split evenly.
std::vector<OwnedSlice> owned_slices(const ParameterStore& store, Communicator& dp, Communicator& edp);

}  // namespace athanor
