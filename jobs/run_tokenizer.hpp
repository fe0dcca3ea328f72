// `data.tokenizer = bpe:N`: a tokenizer of at most N tokens (fewer where the text has no more pairs) that a run learns
// from its own training text. Laws:
//  * It is learned once, by rank 0, before the first stage, and lies in the run's folder as tokenizer.json; a restart
//    and every command that reads a checkpoint of the run find it there.
//  * It depends on the text alone, so the same recipe learns the same tokenizer everywhere.
//  * It belongs to its run: weights from elsewhere were trained with another one.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include "io/options/configuration.hpp"
#include "jobs/run_folder.hpp"
#include "parallel/host_group.hpp"

namespace athanor {

/// N of "bpe:N"; nullopt for any other name. @throws ConfigError for "bpe:" without a number.
std::optional<std::int64_t> vocab_to_learn(const std::string& tokenizer);

/// Learns what the stages of a recipe ask for, from the text of the first stage that has any, unless it lies in the
/// folder already. Collective. @throws ConfigError, the same on every rank: stages that want different sizes, token
/// files (.h5) as text, weights from another run, a tokenizer.json learned otherwise.
void learn_run_tokenizer(const Configuration& configuration, const RunFolder& folder, HostGroup& world);

/// The file that stands for `tokenizer` in a run's folder; other names as they are.
std::string tokenizer_in_run(const std::string& tokenizer, const std::filesystem::path& run_folder);
/// The same for a checkpoint: RUN/stages/NAME/checkpoints/step_N, or beside a checkpoint that was copied elsewhere.
/// @throws ConfigError naming the files that were looked for.
std::string tokenizer_of_checkpoint(const std::string& tokenizer, const std::filesystem::path& checkpoint);

}  // namespace athanor
