// Runs the stages of a recipe in order, skipping those that are complete.
#pragma once

#include "io/options/configuration.hpp"
#include "jobs/stage.hpp"

namespace athanor {

/// Collective. @param default_folder  where run.folder is empty. @returns complete, or interrupted when a stage was.
StageStatus run_recipe(const Configuration& configuration, const std::string& default_folder, HostGroup& world);

}  // namespace athanor
