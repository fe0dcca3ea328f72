#include "jobs/text_generator.hpp"

#include <fmt/format.h>

#include "src/base/error.hpp"

namespace athanor {
namespace {

/// Host side of DecodeRows.
struct HostRows {
  std::vector<std::int32_t> tokens, positions, slots, lengths, cache_rows, logit_rows;

  void clear() {
    for (auto* list : {&tokens, &positions, &slots, &lengths, &cache_rows, &logit_rows}) list->clear();
  }
  void add(std::int32_t token, std::int64_t slot, std::int64_t position, std::int64_t rows_per_slot,
           bool wants_logits) {
    if (wants_logits) logit_rows.push_back(static_cast<std::int32_t>(tokens.size()));
    tokens.push_back(token);
    positions.push_back(static_cast<std::int32_t>(position));
    slots.push_back(static_cast<std::int32_t>(slot));
    lengths.push_back(static_cast<std::int32_t>(position + 1));
    cache_rows.push_back(static_cast<std::int32_t>(slot * rows_per_slot + position));
  }
  DecodeRows upload(Backend& ops, Stream& stream) const {
    const auto put = [&](const std::vector<std::int32_t>& list) {
      return upload_vector<std::int32_t>(ops, list, {static_cast<std::int64_t>(list.size())}, stream);
    };
    return {put(tokens), put(positions), put(slots), put(lengths), put(cache_rows), put(logit_rows)};
  }
};

}  // namespace

std::vector<std::vector<std::int32_t>> generate_tokens(
    Backend& ops, Transformer& model, const std::vector<std::int32_t>& prompt, const GenerationOptions& options,
    Stream& stream, const std::function<void(std::int64_t, std::int32_t)>& on_token) {
  const auto prompt_tokens = static_cast<std::int64_t>(prompt.size());
  const std::int64_t room = prompt_tokens + options.max_new_tokens;
  if (prompt.empty()) throw ConfigError("generate: the prompt is empty; give at least one token");
  if (room > model.config().max_positions)
    throw ConfigError(
        fmt::format("generate: {} tokens of prompt and {} new ones exceed model.max_positions = {}; ask for fewer",
                    prompt_tokens, options.max_new_tokens, model.config().max_positions));
  KvCache cache(ops, model.config(), model.dtype(), options.samples, room);
  std::vector<std::vector<std::int32_t>> samples(static_cast<std::size_t>(options.samples));
  std::vector<std::int64_t> alive;
  for (std::int64_t s = 0; s < options.samples; ++s) alive.push_back(s);
  const MicroBatch no_batch;
  ExecContext ctx{ops, stream, stream, no_batch, model.dtype(), false};
  HostRows rows;
  std::vector<std::int64_t> keys;
  std::vector<std::int32_t> chosen;

  for (std::int64_t made = 0; made < options.max_new_tokens && !alive.empty(); ++made) {
    rows.clear();
    keys.clear();
    for (const std::int64_t s : alive) {
      if (made == 0) {
        for (std::int64_t i = 0; i < prompt_tokens; ++i)
          rows.add(prompt[static_cast<std::size_t>(i)], s, i, room, i + 1 == prompt_tokens);
      } else {
        rows.add(samples[static_cast<std::size_t>(s)].back(), s, prompt_tokens + made - 1, room, true);
      }
      keys.push_back(s * (std::int64_t{1} << 32) + made);
    }
    const Tensor logits_RV = model.decode(ctx, rows.upload(ops, stream), cache);
    const auto count = static_cast<std::int64_t>(alive.size());
    const Tensor ids_R = ops.empty({count}, DType::i32),
                 logprobs_R = ops.empty({count}, accumulation_dtype(model.dtype()));
    const Tensor keys_R = upload_vector<std::int64_t>(ops, keys, {count}, stream);
    ops.sample(ids_R, logprobs_R, logits_RV, keys_R, options.seed, options.sampling, stream);
    chosen.resize(alive.size());
    ops.download(std::as_writable_bytes(std::span(chosen)), ids_R, stream);
    stream.synchronize();
    std::vector<std::int64_t> still_alive;
    for (std::size_t i = 0; i < alive.size(); ++i) {
      if (chosen[i] == options.eos_id) continue;
      samples[static_cast<std::size_t>(alive[i])].push_back(chosen[i]);
      if (on_token) on_token(alive[i], chosen[i]);
      still_alive.push_back(alive[i]);
    }
    alive = std::move(still_alive);
  }
  return samples;
}

}  // namespace athanor
