#include "parallel/nccl/nccl_session.hpp"

#include <fmt/format.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <numeric>
#include <vector>

#include "src/base/error.hpp"

namespace athanor {

std::string to_text(const NcclId& id) { return {reinterpret_cast<const char*>(id.data()), id.size()}; }

NcclId id_from_text(const std::string& text) {
  NcclId id{};
  if (text.size() != id.size())
    throw CommError(fmt::format("nccl: wanted an id of {} bytes, got {}", id.size(), text.size()));
  std::memcpy(id.data(), text.data(), id.size());
  return id;
}

NcclSession::NcclSession(NcclApi& api, const HostGroup& world, const NcclSettings& settings,
                         std::function<void(const std::string&)> give_up, double grace_seconds)
    : api_(api),
      settings_(settings),
      rank_(world.rank()),
      size_(world.size()),
      watch_(api, settings.call_seconds, std::move(give_up), grace_seconds) {
  if (size_ == 1) return;
  HostGroup own = world.duplicate();
  NcclId id{};
  const NcclStatus status = rank_ == 0 ? api_.unique_id(id) : NcclStatus::success;
  if (own.any(status != NcclStatus::success))
    throw CommError("nccl: rank 0 could not make an id: " +
                    (rank_ == 0 ? api_.error_text(status, nullptr) : std::string("its log says why")) +
                    "; NCCL_SOCKET_IFNAME names the network to use where there are several");
  NcclMembers all{"world", std::vector<int>(static_cast<std::size_t>(size_)), rank_};
  std::iota(all.ranks.begin(), all.ranks.end(), 0);
  world_ = open(std::move(all), id_from_text(own.broadcast(to_text(id), 0)));
  world_->await_open(settings_.open_seconds);
}

NcclSession::~NcclSession() {
  if (world_) watch_.remove(*world_);
}

std::unique_ptr<NcclLink> NcclSession::open(NcclMembers members, const NcclId& id) {
  auto link = std::make_unique<NcclLink>(api_, std::move(members), id);
  watch_.add(*link);
  return link;
}

std::unique_ptr<NcclLink> NcclSession::split(const HostGroup& group, const std::string& name) {
  if (size_ == 1) return nullptr;
  watch_.require_healthy();
  HostGroup own = group.duplicate();
  NcclMembers members{name, {}, group.rank()};
  for (const std::int64_t rank : own.all_gather(std::int64_t{rank_})) members.ranks.push_back(static_cast<int>(rank));
  const bool alone = group.size() == 1;
  const int color = alone ? NcclApi::kNoColor : members.ranks.front();  // in no other group of this split
  auto link = std::make_unique<NcclLink>(*world_, std::move(members), color, group.rank(), settings_.open_seconds);
  if (alone) return nullptr;
  watch_.add(*link);
  link->await_open(settings_.open_seconds);
  return link;
}

void NcclSession::end_process(const std::string& why) {
  std::fflush(stdout);
  fmt::print(stderr, "{}\nnccl: this rank does not come back from it and ends now\n", why);
  std::fflush(stderr);
  std::_Exit(1);
}

}  // namespace athanor
