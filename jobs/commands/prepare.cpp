// athanor prepare INPUT... --output=FILE.h5
#include <fmt/format.h>

#include "io/dataset/prepare.hpp"
#include "io/metrics/metrics.hpp"
#include "io/options/configuration.hpp"
#include "io/options/invocation.hpp"
#include "jobs/commands/commands.hpp"
#include "src/base/error.hpp"
#include "src/text/tokenizer.hpp"

namespace athanor {

int prepare_command(const std::vector<std::string>& words, HostGroup& world) {
  PrepareOptions options;
  std::string tokenizer_name = "byte";
  OptionTable own;
  own.section("", "prepare");
  own.add("input", options.inputs, "FILE", ".txt, .jsonl, and either with .gz; may be repeated (also plain words)");
  own.add("output", options.output, "FILE", "the token file (.h5); replaced only when all went well");
  own.add("tokenizer", tokenizer_name, "byte|FILE", "byte, or a file made by `athanor tokenizer train`");
  own.add("text_field", options.format.text_field, "name", "of the text in a line of .jsonl");
  own.add("separator", options.format.separator, "text", "between documents of a .txt; empty: a file is one document");
  own.add("replace_invalid", options.format.replace_invalid,
          "write U+FFFD for bytes that are no UTF-8 instead of refusing them");
  own.add("fim_rate", options.fill_in_middle.rate, "fraction", "of documents turned into prefix, suffix, middle",
          kFraction);
  own.add("seed", options.fill_in_middle.seed, "number", "of the choice of those documents");
  const Invocation invocation = parse_invocation(words, {{&own}, "input"});
  if (invocation.help) {
    if (world.rank() == 0)
      fmt::print("athanor prepare FILE... --output=FILE.h5\n\nAll ranks share the work.\n\n{}", own.help());
    return kExitComplete;
  }
  Configuration(invocation.assignments, own).apply(own);
  if (options.inputs.empty())
    throw ConfigError("prepare: no input is given; write `athanor prepare FILE... --output=FILE.h5`");
  if (options.output.empty()) throw ConfigError("prepare: no --output=FILE.h5 is given");
  const auto tokenizer = load_tokenizer(tokenizer_name);
  ProgressLine progress;
  const PrepareResult result = prepare_token_file(options, *tokenizer, world, [&](const PrepareProgress& now) {
    progress.show(fmt::format("{:3.0f} % {} documents, {:.1f} MB/s, {} left", 100.0 * now.done, now.documents,
                              now.bytes_per_second * 1e-6, format_seconds(now.seconds_left)),
                  false);
  });
  progress.finish();
  if (world.rank() == 0)
    fmt::print(
        "{}: {} documents, {} tokens of {} bytes of text ({:.2f} bytes a token), {} blank documents left out, {:.1f} "
        "s\n",
        options.output, result.num_documents, result.num_tokens, result.text_bytes,
        static_cast<double>(result.text_bytes) / static_cast<double>(std::max<std::int64_t>(1, result.num_tokens)),
        result.num_skipped, result.seconds);
  return kExitComplete;
}

}  // namespace athanor
