// What must be alike on all ranks before a run begins. Law: one small message each; what would end in nonsense is an
// error that names the odd ranks, what would only mislead is a warning.
#pragma once

#include <string>

#include "parallel/host_group.hpp"

namespace athanor {

/// The binary and the resolved configuration must be the same, clocks should be. Collective.
/// @throws CollectiveMismatch on every rank, naming the odd ranks and what they have.
void check_same_start(HostGroup& world, const std::string& config_text);

}  // namespace athanor
