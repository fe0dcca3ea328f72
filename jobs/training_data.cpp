#include "jobs/training_data.hpp"

#include <fmt/format.h>

#include <cstdlib>

#include "jobs/generated_text.hpp"
#include "parallel/agreement.hpp"
#include "src/base/error.hpp"
#include "src/base/rng.hpp"

namespace athanor {
namespace {

/// The token file of a source: itself, or made from its text.
std::shared_ptr<const TokenFile> open_source(
    const DataSource& source, const DataOptions& options, std::uint64_t seed, const Tokenizer& tokenizer,
    const std::filesystem::path& folder, HostGroup& ranks,
    const std::function<void(const std::string&, const PrepareProgress&)>& progress) {
  std::string path = source.name;
  if (!path.ends_with(".h5")) {
    if (path.starts_with("generated:")) {
      // Rank 0 writes, all wait: the text is a pure function of its name.
      std::string text_file;
      on_first_rank(ranks, [&] {
        std::filesystem::create_directories(folder);
        text_file = write_generated_text(path.substr(10), folder).string();
      });
      path = ranks.broadcast(text_file, 0);
    }
    PrepareOptions prepare;
    prepare.inputs = {path};
    if (!source.name.starts_with("generated:")) prepare.format.text_field = options.text_field;
    prepare.fill_in_middle = {options.fim_rate, seed};
    // The name tells sources of one file name apart.
    prepare.output = (folder / fmt::format("{}-{:08x}.h5", std::filesystem::path(path).stem().string(),
                                           static_cast<std::uint32_t>(stable_hash(path))))
                         .string();
    bool ready = false;
    on_first_rank(ranks, [&] {
      std::filesystem::create_directories(folder);
      ready = is_prepared(prepare, tokenizer);
    });
    if (ranks.any(ready) == false)
      prepare_token_file(prepare, tokenizer, ranks, [&](const PrepareProgress& now) { progress(path, now); });
    path = prepare.output;
  }
  auto file = std::make_shared<const TokenFile>(path);
  check_tokenizer(*file, tokenizer);
  return file;
}

}  // namespace

DataSource parse_data_source(const std::string& text) {
  // Weights inside the parentheses of generated:tasks(...) are its own.
  const auto at = text.rfind(" @ "), parenthesis = text.rfind(')');
  if (at == std::string::npos || (parenthesis != std::string::npos && at < parenthesis)) return {text, 1.0};
  const std::string number = text.substr(at + 3);
  char* end = nullptr;
  const double weight = std::strtod(number.c_str(), &end);
  if (end == number.c_str() || *end != '\0' || !(weight > 0.0))
    throw ConfigError("data source '" + text + "': '" + number +
                      "' is no weight; write FILE @ WEIGHT with a positive number");
  return {text.substr(0, at), weight};
}

TrainingData open_training_data(const DataOptions& options, std::uint64_t seed, const std::filesystem::path& folder,
                                bool need_train, HostGroup& ranks,
                                const std::function<void(const std::string&, const PrepareProgress&)>& progress) {
  TrainingData data;
  data.tokenizer = load_tokenizer(options.tokenizer);
  if (need_train && options.train.empty())
    throw ConfigError(
        "data.train is empty: nothing to train on; give --data.train=FILE (.txt, .jsonl, .jsonl.gz or .h5)");
  std::vector<WeightedSource> train;
  std::vector<TokenDataset> held_out;
  const bool split = options.held_out.empty() && options.held_out_fraction > 0.0;
  if (need_train || split)
    for (const std::string& text : options.train) {
      const DataSource source = parse_data_source(text);
      const auto file = open_source(source, options, seed, *data.tokenizer, folder, ranks, progress);
      if (split) {
        HeldOutSplit parts = split_held_out(file, options.held_out_fraction);
        train.push_back({parts.train, source.weight});
        held_out.push_back(parts.held_out);
      } else {
        train.push_back({TokenDataset(file), source.weight});
      }
    }
  for (const std::string& text : options.held_out)
    held_out.emplace_back(
        open_source(parse_data_source(text), options, seed, *data.tokenizer, folder, ranks, progress));
  if (need_train) data.train.emplace(std::move(train), options.sequence_length, seed);
  if (!held_out.empty())
    data.held_out.emplace(std::move(held_out), *data.tokenizer, options.sequence_length, options.isolate_documents);
  return data;
}

}  // namespace athanor
