// What a stage trains and is measured on, made from the options [data]: tokenizer, token files, mixture, held-out
// windows. Law: text is tokenised once into the stage's data folder and found there again after a restart; token files
// (.h5) are used where they lie. Everything is the same on every rank.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <optional>

#include "io/dataset/evaluation_windows.hpp"
#include "io/dataset/mixture_dataset.hpp"
#include "io/dataset/prepare.hpp"
#include "io/options/job_options.hpp"
#include "parallel/host_group.hpp"
#include "src/text/tokenizer.hpp"

namespace athanor {

struct TrainingData {
  std::unique_ptr<Tokenizer> tokenizer;
  std::optional<MixtureDataset> train;        ///< absent when only evaluation was asked for
  std::optional<EvaluationWindows> held_out;  ///< absent when nothing is held out
};

/// `FILE`, `generated:tales` or `generated:tasks(...)`, each also with ` @ WEIGHT`, as data.train and data.held_out
/// take them.
struct DataSource {
  std::string name;
  double weight = 1.0;
};
/// @throws ConfigError for a weight that is no positive number.
DataSource parse_data_source(const std::string& text);

/// Collective. @param folder  where token files made from text go. @param need_train  false: held-out data alone.
/// @throws ConfigError or DataError, the same on every rank.
TrainingData open_training_data(const DataOptions& options, std::uint64_t seed, const std::filesystem::path& folder,
                                bool need_train, HostGroup& ranks,
                                const std::function<void(const std::string&, const PrepareProgress&)>& progress);

}  // namespace athanor
