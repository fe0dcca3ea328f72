#include "parallel/data/owned_slices.hpp"

#include <fmt/format.h>

#include <numeric>

#include "src/base/error.hpp"

namespace athanor {

Communicator& ReductionRanks::of(GradientGroup group) const {
  switch (group) {
    case GradientGroup::cut:
      return cut;
    case GradientGroup::whole:
      return whole;
    case GradientGroup::expert:
      return expert;
    case GradientGroup::shared:
      return shared;
  }
  throw Error("a parameter of no gradient group");
}

std::int64_t ReductionRanks::bucket_pad() const {
  std::int64_t pad = 1;
  for (const Communicator* ranks : {&cut, &whole, &expert, &shared}) pad = std::lcm(pad, std::int64_t{ranks->size()});
  return 64 * pad;
}

std::vector<OwnedSlice> owned_slices(const ParameterStore& store, const ReductionRanks& reduction) {
  std::vector<OwnedSlice> slices;
  for (std::size_t g = 0; g < store.groups().size(); ++g) {
    const ParameterGroup& group = store.groups()[g];
    Communicator& ranks = reduction.of(group.group);
    for (const auto& bucket : group.buckets) {
      const std::int64_t length = bucket.end - bucket.begin;
      if (length % ranks.size() != 0)
        throw Error(
            fmt::format("a bucket of {} elements cannot be shared by {} ranks; make the ParameterStore with "
                        "pad_elements = {}",
                        length, ranks.size(), reduction.bucket_pad()));
      const std::int64_t share = length / ranks.size();
      const std::int64_t begin = bucket.begin + ranks.rank() * share;
      slices.push_back({g, bucket, begin, begin + share, &ranks});
    }
  }
  return slices;
}

}  // namespace athanor
