#include "src/model/model_part.hpp"

#include <fmt/format.h>

#include <array>
#include <numeric>
#include <sstream>
#include <string>
#include <string_view>

#include "src/base/divisors.hpp"
#include "src/base/error.hpp"
#include "src/model/parameter_names.hpp"

namespace athanor {
namespace {

void require_divides(std::string_view axis, std::int64_t ranks, std::string_view what, std::int64_t value) {
  if (ranks < 1 || value % ranks != 0)
    throw ConfigError(
        fmt::format("parallel.{} = {}: wanted a divisor of {} = {}: {}", axis, ranks, what, value, divisors_of(value)));
}

/// Where a tensor stands: a layer's number, or -1 outside the main model's layers.
std::int64_t layer_of(const std::string& name) {
  constexpr std::string_view kPrefix = "layers.";
  return name.starts_with(kPrefix) ? std::stoll(name.substr(kPrefix.size())) : -1;
}

/// "w_kv_b" of "layers.3.attention.w_kv_b".
std::string_view last_word(std::string_view name) { return name.substr(name.rfind('.') + 1); }

bool is_replicated_over_tp(const LogicalTensor& tensor) {
  using Kind = LogicalTensor::Kind;
  if (tensor.kind == Kind::norm || tensor.kind == Kind::router_weight || tensor.kind == Kind::value_head) return true;
  constexpr std::array<std::string_view, 3> kWhole = {"w_q_a", "w_kv_a", "eh_proj"};
  for (const std::string_view word : kWhole)
    if (last_word(tensor.name) == word) return true;
  return false;
}

bool is_held(const LogicalTensor& tensor, const ModelPart& part) {
  using Kind = LogicalTensor::Kind;
  if (const std::int64_t layer = layer_of(tensor.name); layer >= 0)
    return layer >= part.layer_begin && layer < part.layer_end;
  return tensor.kind == Kind::embedding ? part.has_embedding : part.has_head;
}

}  // namespace

void LayoutSizes::validate(const ModelConfig& config) const {
  config.validate();
  const auto at_least_one = [](std::string_view axis, std::int64_t ranks) {
    if (ranks < 1) throw ConfigError(fmt::format("parallel.{} = {}: wanted at least 1", axis, ranks));
  };
  at_least_one("tp", tp);
  at_least_one("cp", cp);
  at_least_one("dp", dp);
  at_least_one("ep", ep);
  require_divides("tp", tp, "model.num_heads", config.num_heads);
  if (config.attention == AttentionKind::gqa) require_divides("tp", tp, "model.num_kv_heads", config.num_kv_heads);
  require_divides("tp", tp, "model.vocab_size", config.vocab_size);
  if (config.head == HeadKind::scalar && cp > 1)
    throw ConfigError(
        fmt::format("parallel.cp = {}: wanted 1 with model.head = scalar, whose losses look at whole sequences; give "
                    "the ranks to parallel.dp or parallel.tp",
                    cp));
  const bool has_experts = config.num_routed_experts > 0;
  if (!has_experts || config.first_k_dense > 0) require_divides("tp", tp, "model.inter_dim", config.inter_dim);
  if (!has_experts) {
    if (ep > 1)
      throw ConfigError(fmt::format("parallel.ep = {}: wanted 1, the model has no routed experts to share out", ep));
    return;
  }
  if (config.num_shared_experts > 0)
    require_divides("tp", tp, "model.num_shared_experts * model.moe_inter_dim",
                    config.num_shared_experts * config.moe_inter_dim);
  require_divides("ep", ep, "model.num_routed_experts", config.num_routed_experts);
  require_divides("ep", ep, "dp*cp*tp", dp * cp * tp);
}

std::vector<ModelPart> split_layers(const ModelConfig& config, std::int64_t num_chunks,
                                    const std::vector<std::int64_t>& given) {
  std::vector<std::int64_t> counts = given;
  if (given.empty()) {
    const std::int64_t units = config.num_layers + config.mtp_depth;
    counts.assign(static_cast<std::size_t>(num_chunks), (units + num_chunks - 1) / num_chunks);
    std::int64_t surplus = counts.front() * num_chunks - units;
    for (std::int64_t i = 0; surplus > 0; ++i, --surplus)
      --counts[static_cast<std::size_t>(i % 2 == 0 ? num_chunks - 1 - i / 2 : i / 2)];
    counts.back() -= config.mtp_depth;
    for (std::size_t chunk = counts.size() - 1; chunk > 0 && counts[chunk] < 0; --chunk) {  // more modules than a share
      counts[chunk - 1] += counts[chunk];
      counts[chunk] = 0;
    }
  }
  const std::int64_t total = std::accumulate(counts.begin(), counts.end(), std::int64_t{0});
  if (static_cast<std::int64_t>(counts.size()) != num_chunks || total != config.num_layers)
    throw ConfigError(
        fmt::format("parallel.layer_split: {} counts that add up to {}; wanted one for each of the {} chunks of the "
                    "pipeline, adding up to model.num_layers = {}",
                    counts.size(), total, num_chunks, config.num_layers));
  std::vector<ModelPart> parts;
  std::int64_t begin = 0;
  for (std::size_t chunk = 0; chunk < counts.size(); ++chunk) {
    const bool last = chunk + 1 == counts.size();
    if (counts[chunk] < 1 && !(last && counts[chunk] == 0 && config.mtp_depth > 0))
      throw ConfigError(
          fmt::format("parallel: chunk {} of the pipeline's {} would have no layer of model.num_layers = {}; give it "
                      "fewer chunks (parallel.pp, parallel.virtual_chunks) or another parallel.layer_split",
                      chunk, num_chunks, config.num_layers));
    parts.push_back(
        {.layer_begin = begin, .layer_end = begin + counts[chunk], .has_embedding = chunk == 0, .has_head = last});
    begin += counts[chunk];
  }
  return parts;
}

std::vector<std::int64_t> parse_layer_split(const std::string& text) {
  std::vector<std::int64_t> counts;
  std::istringstream words(text);
  for (std::string word; std::getline(words, word, ',');) {
    std::size_t used = 0;
    std::int64_t count = -1;
    try {
      count = std::stoll(word, &used);
    } catch (const std::exception&) {
      used = 0;
    }
    if (used == 0 || used != word.size() || count < 0)
      throw ConfigError("parallel.layer_split = " + text + ": wanted numbers of layers such as 3,4,4,3, found '" +
                        word + "'");
    counts.push_back(count);
  }
  return counts;
}

ModelPart whole_model(const ModelConfig& config) {
  return {.layer_begin = 0, .layer_end = config.num_layers, .has_embedding = true, .has_head = true};
}

PartCount part_count(const ModelConfig& config, const ModelPart& part) {
  using Kind = LogicalTensor::Kind;
  PartCount count;
  for (const LogicalTensor& tensor : logical_tensors(config)) {
    if (tensor.kind == Kind::router_bias && !config.router_sigmoid) continue;
    if (is_held(tensor, part))
      (tensor.in_mtp ? count.mtp : count.main) += tensor.shape.numel();
    else if (tensor.kind == Kind::embedding && part.has_embedding_copy(config))
      count.copied += tensor.shape.numel();
  }
  return count;
}

std::int64_t ranks_of(ReducedOver reduced, const LayoutSizes& sizes) {
  switch (reduced) {
    case ReducedOver::dp_cp:
      return sizes.dp * sizes.cp;
    case ReducedOver::dp_cp_tp:
      return sizes.dp * sizes.cp * sizes.tp;
    case ReducedOver::edp:
      return sizes.edp();
    case ReducedOver::ends:
      return 2 * sizes.dp * sizes.cp;
  }
  throw Error("model part: no such reduction");
}

std::vector<HeldTensor> held_tensors(const ModelConfig& config, DType dtype, const ModelPart& part,
                                     const LayoutSizes& sizes) {
  using Kind = LogicalTensor::Kind;
  std::vector<HeldTensor> held;
  for (const LogicalTensor& tensor : logical_tensors(config)) {
    if (tensor.kind == Kind::router_bias) continue;
    const bool is_copy = tensor.kind == Kind::embedding && part.has_embedding_copy(config);
    if (!is_held(tensor, part) && !is_copy) continue;
    HeldTensor here{.numel = tensor.shape.numel(), .dtype = dtype, .is_copy = is_copy, .in_mtp = tensor.in_mtp};
    if (tensor.kind == Kind::router_weight || tensor.kind == Kind::value_head) here.dtype = accumulation_dtype(dtype);
    here.in_fp8 = config.fp8 && (tensor.kind == Kind::expert_matrix ||
                                 (tensor.kind == Kind::matrix && !tensor.name.ends_with(".eh_proj")));
    if (tensor.kind == Kind::expert_matrix) {
      here.numel /= sizes.ep;
      here.reduced = ReducedOver::edp;
    } else if (is_replicated_over_tp(tensor)) {
      here.reduced = ReducedOver::dp_cp_tp;
    } else {
      here.numel /= sizes.tp;
      if (tensor.kind == Kind::embedding && part.shares_embedding(config)) here.reduced = ReducedOver::ends;
    }
    held.push_back(here);
  }
  return held;
}

}  // namespace athanor
