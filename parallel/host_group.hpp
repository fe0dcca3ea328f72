// HostGroup: the control plane. Small host messages (decisions, text, hashes) among a fixed set of ranks, always MPI.
// Law: every function is collective unless it only tells or sets what this rank knows: every rank of the group
// calls it, in the same order. Sums run in rank order, so their bits do not depend on the timing of messages. A group
// dies before its MpiSession. Tensors travel by Communicator.
#pragma once

#include <mpi.h>

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "parallel/collective_log.hpp"

namespace athanor {

class HostGroup {
 public:
  /// All ranks of the job. Needs a living MpiSession. @throws CommError without one.
  static HostGroup world();
  /// This rank alone. Not collective.
  static HostGroup self();
  HostGroup(HostGroup&& other) noexcept;
  HostGroup& operator=(HostGroup&& other) noexcept;
  HostGroup(const HostGroup&) = delete;
  HostGroup& operator=(const HostGroup&) = delete;
  ~HostGroup();

  /// The ranks that pass the same color, ordered by key, then by rank here.
  HostGroup split(int color, int key) const;
  /// The same ranks with messages of their own.
  HostGroup duplicate() const;

  int rank() const { return rank_; }
  int size() const { return size_; }
  MPI_Comm comm() const { return comm_; }

  void barrier();
  /// Logical and over ranks.
  bool all_agree(bool mine);
  /// Logical or over ranks.
  bool any(bool mine);
  /// @throws CollectiveMismatch on every rank when the hashes differ, naming the odd ranks and all values.
  void check_same(std::string_view what, std::uint64_t hash);
  /// The same of a text of lines, telling the first line in which each odd rank differs.
  void check_same_text(std::string_view what, const std::string& text);

  /// The text of `root` on every rank; what the others pass is ignored.
  std::string broadcast(std::string text, int root);
  /// On `root` the texts of all ranks in rank order, elsewhere nothing.
  std::vector<std::string> gather(std::string_view text, int root);
  /// The texts of all ranks in rank order.
  std::vector<std::string> all_gather(std::string_view text);

  std::int64_t sum(std::int64_t mine);
  std::int64_t max(std::int64_t mine);
  /// In rank order, in f64.
  double sum(double mine);
  double max(double mine);
  /// Every entry summed over ranks, in one message. Allocates nothing once called with this length.
  void sum(std::span<double> inout);
  void sum(std::span<std::int64_t> inout);
  /// Rank r's value at index r. Valid until the next call.
  std::span<const std::int64_t> all_gather(std::int64_t mine);

  /// From here on this group, and what is split off it or duplicated, records its calls there. Not collective.
  /// @param log  null: nowhere; must outlive the calls.
  void set_log(CollectiveLog* log);
  CollectiveLog* log() const { return log_; }
  /// What records call the group. @param name  a literal, at most 7 letters.   Not collective.
  void set_name(std::string_view name) { name_ = name; }
  std::string_view name() const { return name_; }
  /// As records know them; null without a log.
  const GroupMembers* members() const { return members_; }

  /// Name of the machine this rank runs on.
  const std::string& host_name() const { return host_name_; }
  /// Machines of the group numbered in order of their lowest rank: this rank's.
  int node_index() const { return node_index_; }

 private:
  explicit HostGroup(MPI_Comm owned);
  /// @param mine  what this rank has; not the same on all ranks.
  [[noreturn]] void throw_mismatch(std::string_view what, std::string_view mine);
  template <class T>
  std::span<T> gather_numbers(std::span<const T> mine);
  /// The same log and name.
  HostGroup heir(MPI_Comm owned) const;
  CollectiveCall next_call(Operation operation, DType dtype = DType::u8, std::size_t count = 0);

  MPI_Comm comm_ = MPI_COMM_NULL;
  int rank_ = 0, size_ = 1, node_index_ = 0;
  std::string host_name_;
  std::string_view name_ = "world";
  CollectiveLog* log_ = nullptr;
  const GroupMembers* members_ = nullptr;
  std::int64_t calls_ = 0;
  std::vector<double> doubles_;         ///< size_ * length, kept between calls
  std::vector<std::int64_t> integers_;  ///< likewise
};

}  // namespace athanor
