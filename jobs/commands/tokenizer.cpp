// athanor tokenizer train|info|encode|decode
#include <fmt/format.h>

#include <charconv>
#include <sstream>

#include "io/dataset/document_reader.hpp"
#include "io/metrics/metrics.hpp"
#include "io/options/configuration.hpp"
#include "io/options/invocation.hpp"
#include "jobs/commands/commands.hpp"
#include "parallel/agreement.hpp"
#include "src/base/error.hpp"
#include "src/text/bpe_trainer.hpp"

namespace athanor {
namespace {

void train(const std::vector<std::string>& inputs, const std::string& output, const std::string& text_field,
           std::int64_t vocab_size) {
  if (inputs.empty()) throw ConfigError("tokenizer train: no text is given; add --input=FILE");
  if (output.empty()) throw ConfigError("tokenizer train: no --output=FILE is given");
  BpeTrainerOptions options;
  options.vocab_size = vocab_size;
  BpeTrainer trainer(options);
  TextFormat format;
  format.text_field = text_field;
  for (const std::string& input : inputs) {
    const TextSource source = find_text_source(input);
    for (const ByteRange& range : cut_into_ranges({source}, format, std::int64_t{1} << 62)) {
      DocumentReader reader(source, format, range);
      for (Document document; reader.next(document);) trainer.add(document.text);
    }
  }
  ProgressLine progress;
  const auto tokenizer = trainer.train([&](std::int64_t done, std::int64_t wanted) {
    progress.show(fmt::format("{} of {} merges", done, wanted), false);
  });
  progress.finish();
  tokenizer->save(output);
  fmt::print("{}: {} tokens\n", output, tokenizer->vocab_size());
}

void describe_tokenizer(const Tokenizer& tokenizer) {
  fmt::print("kind {}, {} tokens, content hash {:016x}\n", tokenizer.kind(), tokenizer.vocab_size(),
             tokenizer.content_hash());
  for (const SpecialToken& special : tokenizer.special_tokens())
    fmt::print("  {:>7}  {:<10} {}\n", special.id, special.name, special.text);
}

std::string decode(const Tokenizer& tokenizer, const std::string& ids) {
  std::vector<std::int32_t> tokens;
  std::istringstream in(ids);
  for (std::string word; in >> word;) {
    std::int32_t id = -1;
    const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), id);
    if (error != std::errc() || end != word.data() + word.size() || id < 0 || id >= tokenizer.vocab_size())
      throw ConfigError(
          fmt::format("tokenizer decode: --ids: '{}' is no token id from 0 to {}", word, tokenizer.vocab_size() - 1));
    tokens.push_back(id);
  }
  return tokenizer.decode(tokens);
}

}  // namespace

int tokenizer_command(const std::vector<std::string>& words, HostGroup& world) {
  std::vector<std::string> inputs;
  std::string action, output, name = "byte", text_field = "text", text, ids;
  std::int64_t vocab_size = 8192;
  OptionTable own;
  own.section("", "tokenizer");
  own.add("action", action, "train|info|encode|decode", "what to do (also the first word)");
  own.add("input", inputs, "FILE", "train: .txt, .jsonl, and either with .gz; may be repeated");
  own.add("output", output, "FILE", "train: the tokenizer's file (.json)");
  own.add("text_field", text_field, "name", "train: of the text in a line of .jsonl");
  own.add("vocab_size", vocab_size, "tokens", "train: bytes and special tokens included", kPositive);
  own.add("tokenizer", name, "byte|FILE", "info, encode, decode: which");
  own.add("text", text, "text", "encode: shown as ids and pieces");
  own.add("ids", ids, "numbers", "decode: token ids, separated by blanks");
  const Invocation invocation = parse_invocation(words, {{&own}, "action"});
  if (invocation.help) {
    if (world.rank() == 0) fmt::print("athanor tokenizer train|info|encode|decode [options]\n\n{}", own.help());
    return kExitComplete;
  }
  Configuration(invocation.assignments, own).apply(own);
  on_first_rank(world, [&] {
    if (action == "train") {
      train(inputs, output, text_field, vocab_size);
    } else if (action == "info") {
      describe_tokenizer(*load_tokenizer(name));
    } else if (action == "encode") {
      const auto tokenizer = load_tokenizer(name);
      for (const std::int32_t id : tokenizer->encode(text, {.allow_special = true}))
        fmt::print("{:>7}  {}\n", id, tokenizer->token_bytes(id));
    } else if (action == "decode") {
      fmt::print("{}\n", decode(*load_tokenizer(name), ids));
    } else {
      throw ConfigError("tokenizer: '" + action + "' is not one of train, info, encode, decode");
    }
  });
  return kExitComplete;
}

}  // namespace athanor
