#include "io/dataset/mixture_dataset.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "src/base/error.hpp"
#include "src/base/rng.hpp"

namespace athanor {
namespace {

constexpr std::int64_t kCycleSlots = 4096;                // weights are rounded to 1/4096
constexpr std::uint64_t kOffsetDraw = ~std::uint64_t{0};  // permuted_index uses small indices only

/// Slots of each source: proportional, at least one, kCycleSlots in all (largest remainders).
std::vector<std::int64_t> count_slots(const std::vector<WeightedSource>& sources) {
  double total = 0.0;
  for (const WeightedSource& source : sources) total += source.weight;
  std::vector<std::int64_t> slots;
  std::vector<double> remainders;
  for (const WeightedSource& source : sources) {
    const double exact = source.weight / total * static_cast<double>(kCycleSlots);
    slots.push_back(std::max<std::int64_t>(1, static_cast<std::int64_t>(std::floor(exact))));
    remainders.push_back(exact - static_cast<double>(slots.back()));
  }
  std::int64_t left = kCycleSlots - std::accumulate(slots.begin(), slots.end(), std::int64_t{0});
  for (; left > 0; --left) {
    const auto most = std::max_element(remainders.begin(), remainders.end()) - remainders.begin();
    slots[static_cast<std::size_t>(most)] += 1;
    remainders[static_cast<std::size_t>(most)] -= 1.0;
  }
  const std::int64_t divisor =
      std::accumulate(slots.begin(), slots.end(), std::int64_t{0}, [](auto a, auto b) { return std::gcd(a, b); });
  for (std::int64_t& count : slots) count /= divisor;
  return slots;
}

}  // namespace

MixtureDataset::MixtureDataset(std::vector<WeightedSource> sources, std::int64_t sequence_length, std::uint64_t seed)
    : sources_(std::move(sources)), sequence_length_(sequence_length), seed_(seed) {
  if (sources_.empty()) throw ConfigError("data.train names no source of text");
  if (sequence_length < 1)
    throw ConfigError(fmt::format("data.sequence_length is {}, wanted at least 1", sequence_length));
  const TokenFileInfo& first = sources_[0].data.file().info();
  for (const WeightedSource& source : sources_) {
    const TokenFile& file = source.data.file();
    if (!(source.weight > 0.0) || !std::isfinite(source.weight))
      throw ConfigError(fmt::format("{}: its weight is {}, wanted a positive number", file.path(), source.weight));
    if (source.data.num_tokens() < sequence_length + 1)
      throw ConfigError(
          fmt::format("{}: {} tokens to train on, but a sample needs {}; give more text or lower "
                      "data.sequence_length",
                      file.path(), source.data.num_tokens(), sequence_length + 1));
    if (file.info().tokenizer_hash != first.tokenizer_hash)
      throw ConfigError(fmt::format("{}: made with another tokenizer than {}; prepare them with the same one",
                                    file.path(), sources_[0].data.file().path()));
  }

  slots_of_source_ = count_slots(sources_);
  const std::int64_t length = std::accumulate(slots_of_source_.begin(), slots_of_source_.end(), std::int64_t{0});
  std::vector<std::int64_t> used(sources_.size(), 0);
  for (std::int64_t slot = 0; slot < length; ++slot) {
    std::size_t best = 0;
    std::int64_t most = std::numeric_limits<std::int64_t>::min();
    for (std::size_t s = 0; s < sources_.size(); ++s) {
      const std::int64_t deficit = slots_of_source_[s] * (slot + 1) - used[s] * length;
      if (deficit > most) most = deficit, best = s;
    }
    cycle_.push_back({static_cast<std::uint32_t>(best), static_cast<std::uint32_t>(used[best]++)});
  }

  std::string content = fmt::format("1 {} {}\n", sequence_length_, seed_);
  for (std::size_t s = 0; s < sources_.size(); ++s)
    content += fmt::format("{:016x} {}\n", sources_[s].data.fingerprint(), slots_of_source_[s]);
  fingerprint_ = stable_hash(content);
}

std::int64_t MixtureDataset::windows_per_epoch(std::size_t source) const {
  // One window less than fit, so that there is room for the offset; a source that holds one window has that one.
  return std::max<std::int64_t>(1, (sources_[source].data.num_tokens() - 1) / sequence_length_ - 1);
}

MixtureDataset::Window MixtureDataset::window(std::int64_t sample) const {
  if (sample < 0) throw Error(fmt::format("sample {} asked for, the first is 0", sample));
  const auto length = static_cast<std::int64_t>(cycle_.size());
  const Slot slot = cycle_[static_cast<std::size_t>(sample % length)];
  const std::int64_t nth = sample / length * slots_of_source_[slot.source] + slot.nth;
  const std::int64_t windows = windows_per_epoch(slot.source), epoch = nth / windows;
  const Philox random(seed_, RandomPurpose::data_order,
                      std::uint64_t{slot.source} << 32 | static_cast<std::uint64_t>(epoch));
  const std::int64_t room = sources_[slot.source].data.num_tokens() - 1 - windows * sequence_length_;
  const auto offset = static_cast<std::int64_t>(random.word64(kOffsetDraw) %
                                                static_cast<std::uint64_t>(std::min(room, sequence_length_ - 1) + 1));
  const auto place = static_cast<std::int64_t>(
      permuted_index(random, static_cast<std::uint64_t>(windows), static_cast<std::uint64_t>(nth % windows)));
  return {slot.source, epoch, offset + place * sequence_length_};
}

void MixtureDataset::sample(std::int64_t sample, std::span<std::int32_t> out_S1) const {
  if (static_cast<std::int64_t>(out_S1.size()) != sequence_length_ + 1)
    throw Error(fmt::format("a sample has {} tokens, the buffer {}", sequence_length_ + 1, out_S1.size()));
  const Window window = this->window(sample);
  sources_[window.source].data.read(window.begin, out_S1);
}

void MixtureDataset::samples(std::int64_t first, std::span<std::int32_t> out_BS1) const {
  const auto row = static_cast<std::size_t>(sequence_length_ + 1);
  if (out_BS1.size() % row != 0)
    throw Error(
        fmt::format("a sample has {} tokens, the buffer of {} holds no whole number of them", row, out_BS1.size()));
  for (std::size_t begin = 0; begin < out_BS1.size(); begin += row) sample(first++, out_BS1.subspan(begin, row));
}

double MixtureDataset::epochs(std::size_t source, std::int64_t samples) const {
  return static_cast<double>(samples_of(source, samples)) / static_cast<double>(windows_per_epoch(source));
}

std::int64_t MixtureDataset::samples_of(std::size_t source, std::int64_t samples) const {
  const auto length = static_cast<std::int64_t>(cycle_.size());
  const auto in_part = std::count_if(cycle_.begin(), cycle_.begin() + samples % length,
                                     [&](const Slot& slot) { return slot.source == source; });
  return samples / length * slots_of_source_[source] + in_part;
}

double MixtureDataset::share(std::size_t source) const {
  return static_cast<double>(slots_of_source_[source]) / static_cast<double>(cycle_.size());
}

}  // namespace athanor
