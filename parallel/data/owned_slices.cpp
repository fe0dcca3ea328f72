#include "parallel/data/owned_slices.hpp"

#include <fmt/format.h>

#include <numeric>

#include "src/base/error.hpp"

namespace athanor {

std::int64_t bucket_pad(const Communicator& dp, const Communicator& edp) {
  return 64 * std::lcm(std::int64_t{dp.size()}, std::int64_t{edp.size()});
}

std::vector<OwnedSlice> owned_slices(const ParameterStore& store, Communicator& dp, Communicator& edp) {
  std::vector<OwnedSlice> slices;
  for (std::size_t g = 0; g < store.groups().size(); ++g) {
    const ParameterGroup& group = store.groups()[g];
    Communicator& ranks = group.is_expert ? edp : dp;
    for (const auto& bucket : group.buckets) {
      const std::int64_t length = bucket.end - bucket.begin;
      if (length % ranks.size() != 0)
        throw Error(
            fmt::format("a bucket of {} elements cannot be shared by {} ranks; make the ParameterStore with "
                        "pad_elements = {}",
                        length, ranks.size(), bucket_pad(dp, edp)));
      const std::int64_t share = length / ranks.size();
      const std::int64_t begin = bucket.begin + ranks.rank() * share;
      slices.push_back({g, bucket, begin, begin + share, &ranks});
    }
  }
  return slices;
}

}  // namespace athanor
