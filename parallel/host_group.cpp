#include "parallel/host_group.hpp"

#include <algorithm>
#include <array>
#include <climits>
#include <cstdio>
#include <map>
#include <numeric>
#include <sstream>
#include <utility>

#include "parallel/mpi/mpi_session.hpp"
#include "src/base/error.hpp"
#include "src/base/rng.hpp"

namespace athanor {
namespace {

template <class T>
MPI_Datatype mpi_type();
template <>
MPI_Datatype mpi_type<double>() {
  return MPI_DOUBLE;
}
template <>
MPI_Datatype mpi_type<std::int64_t>() {
  return MPI_INT64_T;
}

int int_count(std::size_t count, const char* what) {
  if (count > static_cast<std::size_t>(INT_MAX))
    throw CommError(std::string(what) + ": " + std::to_string(count) +
                    " bytes in one host message, at most 2147483647 fit; send tensors by a Communicator");
  return static_cast<int>(count);
}

/// The first line in which two texts differ, of either.
std::pair<std::string, std::string> first_difference(const std::string& a, const std::string& b) {
  std::istringstream lines_a(a), lines_b(b);
  std::string line_a, line_b;
  do {
    if (!std::getline(lines_a, line_a)) line_a = "(no more lines)";
    if (!std::getline(lines_b, line_b)) line_b = "(no more lines)";
  } while (line_a == line_b && (lines_a || lines_b));
  return {line_a, line_b};
}

std::string own_host_name() {
  std::array<char, MPI_MAX_PROCESSOR_NAME> name{};
  int length = 0;
  mpi::check(MPI_Get_processor_name(name.data(), &length), "MPI_Get_processor_name");
  return {name.data(), static_cast<std::size_t>(length)};
}

/// Byte offsets of pieces of these lengths laid end to end; one more than there are pieces.
std::vector<int> offsets_of(std::span<const std::int64_t> lengths) {
  std::vector<int> offsets(lengths.size() + 1, 0);
  std::size_t total = 0;
  for (std::size_t i = 0; i < lengths.size(); ++i) {
    total += static_cast<std::size_t>(lengths[i]);
    offsets[i + 1] = int_count(total, "gather of texts");
  }
  return offsets;
}

std::vector<std::string> cut(const std::string& bytes, std::span<const int> offsets) {
  std::vector<std::string> texts;
  for (std::size_t i = 0; i + 1 < offsets.size(); ++i)
    texts.push_back(
        bytes.substr(static_cast<std::size_t>(offsets[i]), static_cast<std::size_t>(offsets[i + 1] - offsets[i])));
  return texts;
}

std::vector<int> to_int(std::span<const std::int64_t> values) { return {values.begin(), values.end()}; }

}  // namespace

// ---- ownership

namespace {
MPI_Comm duplicate_of(MPI_Comm comm, const char* what) {
  int initialized = 0, finalized = 0;
  MPI_Initialized(&initialized);
  MPI_Finalized(&finalized);
  if (!initialized || finalized)
    throw CommError(std::string(what) + ": MPI is not running here; make an MpiSession first and let it die last");
  MPI_Comm copy = MPI_COMM_NULL;
  mpi::check(MPI_Comm_dup(comm, &copy), what);
  return copy;
}
}  // namespace

HostGroup HostGroup::world() { return HostGroup(duplicate_of(MPI_COMM_WORLD, "the group of all ranks")); }

HostGroup HostGroup::self() { return HostGroup(duplicate_of(MPI_COMM_SELF, "the group of one rank")); }

HostGroup::HostGroup(MPI_Comm owned) : comm_(owned) {
  mpi::check(MPI_Comm_set_errhandler(comm_, MPI_ERRORS_RETURN), "MPI_Comm_set_errhandler");
  mpi::check(MPI_Comm_rank(comm_, &rank_), "MPI_Comm_rank");
  mpi::check(MPI_Comm_size(comm_, &size_), "MPI_Comm_size");
  host_name_ = own_host_name();
  std::map<std::string, int> index_of;
  for (const std::string& name : all_gather(std::string_view(host_name_)))
    index_of.emplace(name, static_cast<int>(index_of.size()));
  node_index_ = index_of.at(host_name_);
}

HostGroup::HostGroup(HostGroup&& other) noexcept
    : comm_(std::exchange(other.comm_, MPI_COMM_NULL)),
      rank_(other.rank_),
      size_(other.size_),
      node_index_(other.node_index_),
      host_name_(std::move(other.host_name_)),
      name_(other.name_),
      log_(other.log_),
      members_(other.members_),
      calls_(other.calls_),
      doubles_(std::move(other.doubles_)),
      integers_(std::move(other.integers_)) {}

HostGroup& HostGroup::operator=(HostGroup&& other) noexcept {
  std::swap(comm_, other.comm_);
  std::swap(rank_, other.rank_);
  std::swap(size_, other.size_);
  std::swap(node_index_, other.node_index_);
  std::swap(host_name_, other.host_name_);
  std::swap(name_, other.name_);
  std::swap(log_, other.log_);
  std::swap(members_, other.members_);
  std::swap(calls_, other.calls_);
  std::swap(doubles_, other.doubles_);
  std::swap(integers_, other.integers_);
  return *this;
}

HostGroup::~HostGroup() {
  if (comm_ == MPI_COMM_NULL) return;
  int finalized = 0;
  MPI_Finalized(&finalized);
  if (finalized)
    std::fputs("athanor: a HostGroup outlived its MpiSession; its communicator is lost\n", stderr);
  else if (MPI_Comm_free(&comm_) != MPI_SUCCESS)
    std::fputs("athanor: MPI_Comm_free failed\n", stderr);
}

HostGroup HostGroup::split(int color, int key) const {
  MPI_Comm comm = MPI_COMM_NULL;
  mpi::check(MPI_Comm_split(comm_, color, key, &comm), "MPI_Comm_split");
  return heir(comm);
}

HostGroup HostGroup::duplicate() const {
  MPI_Comm comm = MPI_COMM_NULL;
  mpi::check(MPI_Comm_dup(comm_, &comm), "MPI_Comm_dup");
  return heir(comm);
}

HostGroup HostGroup::heir(MPI_Comm owned) const {
  HostGroup group(owned);
  group.calls_ = 0;  // what it took to make it does not count
  group.name_ = name_;
  group.set_log(log_);
  return group;
}

void HostGroup::set_log(CollectiveLog* log) {
  log_ = log;
  members_ = nullptr;
  if (log_ == nullptr) return;
  MPI_Group world = MPI_GROUP_NULL, own = MPI_GROUP_NULL;
  mpi::check(MPI_Comm_group(MPI_COMM_WORLD, &world), "MPI_Comm_group");
  mpi::check(MPI_Comm_group(comm_, &own), "MPI_Comm_group");
  std::vector<int> here(static_cast<std::size_t>(size_)), there(here.size());
  std::iota(here.begin(), here.end(), 0);
  mpi::check(MPI_Group_translate_ranks(own, size_, here.data(), world, there.data()), "MPI_Group_translate_ranks");
  MPI_Group_free(&own);
  MPI_Group_free(&world);
  members_ = log_->members_of(std::move(there));
}

CollectiveCall HostGroup::next_call(Operation operation, DType dtype, std::size_t count) {
  return {.operation = operation,
          .of_tensors = false,
          .group = name_,
          .number = ++calls_,
          .dtype = dtype,
          .count = static_cast<std::int64_t>(count),
          .members = members_};
}

// ---- decisions

void HostGroup::barrier() {
  const CollectiveLog::Call call(log_, next_call(Operation::barrier));
  mpi::check(MPI_Barrier(comm_), "MPI_Barrier");
}

bool HostGroup::all_agree(bool mine) { return max(static_cast<std::int64_t>(!mine)) == 0; }

bool HostGroup::any(bool mine) { return max(static_cast<std::int64_t>(mine)) != 0; }

void HostGroup::check_same(std::string_view what, std::uint64_t hash) {
  char digits[32];
  std::snprintf(digits, sizeof digits, "%016llx", static_cast<unsigned long long>(hash));
  const auto hashes = all_gather(static_cast<std::int64_t>(hash));
  if (std::all_of(hashes.begin(), hashes.end(), [&](std::int64_t h) { return h == hashes.front(); })) return;
  throw_mismatch(what, digits);
}

void HostGroup::check_same_text(std::string_view what, const std::string& text) {
  const auto hashes = all_gather(static_cast<std::int64_t>(stable_hash(text)));
  if (std::all_of(hashes.begin(), hashes.end(), [&](std::int64_t h) { return h == hashes.front(); })) return;
  throw_mismatch(what, text);
}

void HostGroup::throw_mismatch(std::string_view what, std::string_view mine) {
  const auto found = all_gather(mine), hosts = all_gather(std::string_view(host_name_));
  std::map<std::string, std::vector<std::size_t>> ranks_of;
  for (std::size_t rank = 0; rank < found.size(); ++rank) ranks_of[found[rank]].push_back(rank);
  // Most ranks are right; among equals, those of the lowest rank.
  auto right = ranks_of.begin();
  for (auto it = ranks_of.begin(); it != ranks_of.end(); ++it) {
    const auto votes = it->second.size(), most = right->second.size();
    if (votes > most || (votes == most && it->second.front() < right->second.front())) right = it;
  }
  std::string text = std::string(what) + " differs between ranks:", usual;
  for (const auto& [value, ranks] : ranks_of) {
    if (value == right->first) continue;
    const auto [odd, wanted] = first_difference(value, right->first);
    for (const std::size_t rank : ranks)
      text += " rank " + std::to_string(rank) + " (" + hosts[rank] + ") has " + odd + ";";
    usual = wanted;
  }
  text += " the other " + std::to_string(right->second.size()) + " have " + usual +
          ". Start all ranks with the same program, files and options";
  throw CollectiveMismatch(text);
}

// ---- text

std::string HostGroup::broadcast(std::string text, int root) {
  const CollectiveLog::Call call(log_, next_call(Operation::broadcast));
  auto length = static_cast<std::int64_t>(text.size());
  mpi::check(MPI_Bcast(&length, 1, MPI_INT64_T, root, comm_), "MPI_Bcast of a length");
  text.resize(static_cast<std::size_t>(length));
  mpi::check(MPI_Bcast(text.data(), int_count(text.size(), "broadcast"), MPI_CHAR, root, comm_), "MPI_Bcast of a text");
  return text;
}

std::vector<std::string> HostGroup::gather(std::string_view text, int root) {
  const CollectiveLog::Call call(log_, next_call(Operation::gather));
  const auto lengths = all_gather(static_cast<std::int64_t>(text.size()));
  const auto offsets = offsets_of(lengths);
  const auto counts = to_int(lengths);
  std::string all(rank_ == root ? static_cast<std::size_t>(offsets.back()) : 0, '\0');
  mpi::check(MPI_Gatherv(text.data(), static_cast<int>(text.size()), MPI_CHAR, all.data(), counts.data(),
                         offsets.data(), MPI_CHAR, root, comm_),
             "MPI_Gatherv of texts");
  return rank_ == root ? cut(all, offsets) : std::vector<std::string>{};
}

std::vector<std::string> HostGroup::all_gather(std::string_view text) {
  const CollectiveLog::Call call(log_, next_call(Operation::all_gather, DType::u8, text.size()));
  const auto lengths = all_gather(static_cast<std::int64_t>(text.size()));
  const auto offsets = offsets_of(lengths);
  const auto counts = to_int(lengths);
  std::string all(static_cast<std::size_t>(offsets.back()), '\0');
  mpi::check(MPI_Allgatherv(text.data(), static_cast<int>(text.size()), MPI_CHAR, all.data(), counts.data(),
                            offsets.data(), MPI_CHAR, comm_),
             "MPI_Allgatherv of texts");
  return cut(all, offsets);
}

// ---- numbers

template <class T>
std::span<T> HostGroup::gather_numbers(std::span<const T> mine) {
  std::vector<T>* scratch;
  if constexpr (std::is_same_v<T, double>)
    scratch = &doubles_;
  else
    scratch = &integers_;
  const std::size_t wanted = mine.size() * static_cast<std::size_t>(size_);
  if (scratch->size() < wanted) scratch->resize(wanted);
  const int count = int_count(mine.size(), "sum over ranks");
  const CollectiveLog::Call call(
      log_, next_call(Operation::all_gather, std::is_same_v<T, double> ? DType::f64 : DType::i64, mine.size()));
  mpi::check(MPI_Allgather(mine.data(), count, mpi_type<T>(), scratch->data(), count, mpi_type<T>(), comm_),
             "MPI_Allgather");
  return std::span<T>(*scratch).first(wanted);
}

namespace {
template <class T>
void sum_in_rank_order(std::span<T> out, std::span<const T> all) {
  const std::size_t length = out.size();
  for (std::size_t i = 0; i < length; ++i) {
    T total = all[i];
    for (std::size_t at = i + length; at < all.size(); at += length) total += all[at];
    out[i] = total;
  }
}
}  // namespace

void HostGroup::sum(std::span<double> inout) {
  sum_in_rank_order<double>(inout, gather_numbers(std::span<const double>(inout)));
}
void HostGroup::sum(std::span<std::int64_t> inout) {
  sum_in_rank_order<std::int64_t>(inout, gather_numbers(std::span<const std::int64_t>(inout)));
}

double HostGroup::sum(double mine) {
  sum(std::span<double>(&mine, 1));
  return mine;
}
std::int64_t HostGroup::sum(std::int64_t mine) {
  sum(std::span<std::int64_t>(&mine, 1));
  return mine;
}
double HostGroup::max(double mine) {
  const auto all = gather_numbers(std::span<const double>(&mine, 1));
  return *std::max_element(all.begin(), all.end());
}
std::int64_t HostGroup::max(std::int64_t mine) {
  const auto all = all_gather(mine);
  return *std::max_element(all.begin(), all.end());
}

std::span<const std::int64_t> HostGroup::all_gather(std::int64_t mine) {
  return gather_numbers(std::span<const std::int64_t>(&mine, 1));
}

}  // namespace athanor
