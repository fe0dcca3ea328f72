#include "jobs/run_tokenizer.hpp"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <array>
#include <charconv>

#include "io/dataset/document_reader.hpp"
#include "jobs/generated_text.hpp"
#include "jobs/stop_signal.hpp"
#include "jobs/training_data.hpp"
#include "parallel/agreement.hpp"
#include "src/base/error.hpp"
#include "src/text/bpe_trainer.hpp"

namespace athanor {
namespace {

constexpr const char* kFile = "tokenizer.json";

/// What a recipe asks for: the size, and the stage whose text is learned from.
struct Wish {
  std::int64_t vocab_size = 0;
  std::string stage;
};

std::optional<Wish> wish_of(const Configuration& configuration) {
  Wish wish;
  for (const std::string& name : configuration.stages()) {
    const JobOptions options = configuration.job(name);
    const auto size = vocab_to_learn(options.data.tokenizer);
    if (!size) continue;
    if (wish.vocab_size != 0 && *size != wish.vocab_size)
      throw ConfigError(fmt::format("data.tokenizer: bpe:{} and, for stage {}, bpe:{}; a run learns one tokenizer",
                                    wish.vocab_size, name, *size));
    wish.vocab_size = *size;
    if (wish.stage.empty() && !options.data.train.empty()) wish.stage = name;
    const std::string init = configuration.stage(name).init;
    const auto& stages = configuration.stages();
    if (!init.empty() && std::find(stages.begin(), stages.end(), init) == stages.end())
      throw ConfigError(
          fmt::format("data.tokenizer = bpe:{}: stage {} begins with the weights of {}, which know another tokenizer; "
                      "give the {} of their run as data.tokenizer",
                      *size, name, init, kFile));
  }
  if (wish.vocab_size == 0) return std::nullopt;
  if (wish.stage.empty())
    throw ConfigError(fmt::format("data.tokenizer = bpe:{}: no stage has data.train, so there is no text to learn from",
                                  wish.vocab_size));
  for (const std::string& source : configuration.job(wish.stage).data.train)
    if (const std::string name = parse_data_source(source).name; name.ends_with(".h5"))
      throw ConfigError(fmt::format(
          "data.tokenizer = bpe:{}: data.train = {} of stage {} holds tokens, not text; give the text, or the "
          "tokenizer it was made with",
          wish.vocab_size, name, wish.stage));
  return wish;
}

void add_source(const std::string& source, const DataOptions& options, const std::filesystem::path& data_folder,
                BpeTrainer& trainer) {
  constexpr std::string_view kGenerated = "generated:";
  const std::string name = parse_data_source(source).name;
  TextFormat format;
  std::string path = name;
  if (name.starts_with(kGenerated)) {
    std::filesystem::create_directories(data_folder);
    path = write_generated_text(name.substr(kGenerated.size()), data_folder).string();
  } else {
    format.text_field = options.text_field;
  }
  const TextSource text = find_text_source(path);
  for (const ByteRange& range : cut_into_ranges({text}, format, std::int64_t{1} << 62)) {
    DocumentReader reader(text, format, range);
    for (Document document; reader.next(document);) {
      trainer.add(document.text);
      StopSignal::require_not_asked("learning the tokenizer");
    }
  }
}

/// On rank 0.
void learn(const Configuration& configuration, const Wish& wish, const RunFolder& folder) {
  const auto file = folder.path() / kFile;
  std::unique_ptr<Tokenizer> found;
  if (std::filesystem::exists(file)) found = load_tokenizer(file.string());
  // Options of a stage that is complete do not change any more (same_run.hpp).
  if (found && (found->vocab_size() == wish.vocab_size || folder.is_complete(wish.stage))) return;
  BpeTrainerOptions options;
  options.vocab_size = wish.vocab_size;
  options.may_be_smaller = true;
  BpeTrainer trainer(options);
  const DataOptions data = configuration.job(wish.stage).data;
  for (const std::string& source : data.train) add_source(source, data, folder.stage(wish.stage) / "data", trainer);
  const auto tokenizer =
      trainer.train([](std::int64_t, std::int64_t) { StopSignal::require_not_asked("learning the tokenizer"); });
  if (found) {
    // One that is smaller than wished is the right one only where the text has no more.
    if (found->content_hash() == tokenizer->content_hash()) return;
    throw ConfigError(
        fmt::format("data.tokenizer = bpe:{}: {} has {} tokens and was learned with other options; give those, or "
                    "another --run.folder, or --run.start_over=true",
                    wish.vocab_size, file.string(), found->vocab_size()));
  }
  tokenizer->save(file.string());
  spdlog::info("data.tokenizer: {} tokens learned from the text of stage {}: {}", tokenizer->vocab_size(), wish.stage,
               file.string());
  if (tokenizer->vocab_size() < wish.vocab_size)
    spdlog::warn("data.tokenizer = bpe:{}: the text has pairs for {} tokens only; the model's other rows stay unused",
                 wish.vocab_size, tokenizer->vocab_size());
}

}  // namespace

std::optional<std::int64_t> vocab_to_learn(const std::string& tokenizer) {
  constexpr std::string_view kPrefix = "bpe:";
  if (!tokenizer.starts_with(kPrefix)) return std::nullopt;
  std::int64_t size = 0;
  const char* const end = tokenizer.data() + tokenizer.size();
  const auto [stop, error] = std::from_chars(tokenizer.data() + kPrefix.size(), end, size);
  if (error != std::errc() || stop != end || size < 1)
    throw ConfigError("data.tokenizer = " + tokenizer + ": wanted bpe:N with a number of tokens, as in bpe:512");
  return size;
}

void learn_run_tokenizer(const Configuration& configuration, const RunFolder& folder, HostGroup& world) {
  const auto wish = wish_of(configuration);  // the same on every rank
  if (!wish) return;
  on_first_rank(world, [&] { learn(configuration, *wish, folder); });
}

std::string tokenizer_in_run(const std::string& tokenizer, const std::filesystem::path& run_folder) {
  return vocab_to_learn(tokenizer) ? (run_folder / kFile).string() : tokenizer;
}

std::string tokenizer_of_checkpoint(const std::string& tokenizer, const std::filesystem::path& checkpoint) {
  if (!vocab_to_learn(tokenizer)) return tokenizer;
  const auto folder = std::filesystem::weakly_canonical(checkpoint);
  const std::array<std::filesystem::path, 3> places{
      folder.parent_path().parent_path().parent_path().parent_path() / kFile, folder / kFile,
      folder.parent_path() / kFile};
  for (const auto& place : places)
    if (std::filesystem::exists(place)) return place.string();
  throw ConfigError(fmt::format(
      "checkpoint {}: it was trained with data.tokenizer = {}, the {} of its run, which is in none of {}, {} and {}; "
      "copy it to one of these",
      checkpoint.string(), tokenizer, kFile, places[0].string(), places[1].string(), places[2].string()));
}

}  // namespace athanor
