// What one rank of a layout holds of a model: a pure function of the configuration, for plans and estimates.
// Laws of the layout
//  * Pipeline: a rank has a range of layers; the first also the embedding, the last also final norm, head, loss and MTP
//    modules, with a copy of the embedding when it needs one that it does not own (MTP, tied head).
//  * Tensor: split over tp are the heads of attention (w_q, w_q_b, w_kv_b, w_k, w_v and their biases by rows, w_o by
//    columns), the inner widths of FFN and shared expert, the vocabulary of embedding and head; all else is replicated
//    (norms, w_q_a, w_kv_a, router, eh_proj, scalar head). Source: Megatron-LM (Shoeybi et al. 2019; Korthikanti et al.
//    2022).
//  * Experts: E/ep a rank, each whole.
//  * Gradients are reduced, and the optimizer's state is cut, over dp*cp for what tp splits, dp*cp*tp for what it
//    replicates, edp = dp*cp*tp/ep for experts, 2*dp*cp for an embedding that both ends of a pipeline hold.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "src/base/dtype.hpp"
#include "src/model/model_config.hpp"

namespace athanor {

/// Sizes of the axes within one pipeline rank's group.
struct LayoutSizes {
  std::int64_t tp = 1, cp = 1, dp = 1, ep = 1;

  std::int64_t edp() const { return dp * cp * tp / ep; }
  /// @throws ConfigError naming the option that does not divide and the values that would.
  void validate(const ModelConfig& config) const;
};

/// The layers [layer_begin, layer_end) and the ends of the model.
struct ModelPart {
  std::int64_t layer_begin = 0, layer_end = 0;
  bool has_embedding = true;
  bool has_head = true;
  bool ends_meet = false;  ///< the parts with the embedding and with the head are two, but on one rank

  /// MTP modules and a tied head read the embedding where they are: on another rank than the embedding a copy.
  bool shares_embedding(const ModelConfig& config) const {
    return has_head != has_embedding && !ends_meet && (config.head_is_embedding() || config.mtp_depth > 0);
  }
  bool has_embedding_copy(const ModelConfig& config) const { return has_head && shares_embedding(config); }
};

ModelPart whole_model(const ModelConfig& config);

/// Layers over the chunks of a pipeline: as even as can be, an MTP module counted as a layer of the last chunk; the
/// chunks with one layer fewer are taken from the ends, which also hold embedding and head: last, first, last but one,
/// second, ... A last chunk may hold MTP modules and the head alone.
/// @param counts  layers of every chunk, in place of that; empty: even.
/// @throws ConfigError when a chunk would have no layer, or the counts do not add up.
std::vector<ModelPart> split_layers(const ModelConfig& config, std::int64_t num_chunks,
                                    const std::vector<std::int64_t>& counts = {});
/// "2,2,1" as counts. @throws ConfigError naming parallel.layer_split.
std::vector<std::int64_t> parse_layer_split(const std::string& text);

/// Parameters of all ranks that share this part, each once, as parameter_count counts (a sigmoid gate's biases
/// included).
struct PartCount {
  std::int64_t main = 0, mtp = 0;
  std::int64_t copied = 0;  ///< the embedding where another part owns it
};
PartCount part_count(const ModelConfig& config, const ModelPart& part);

/// What the gradient of a tensor is summed over, and its optimizer state cut over.
enum class ReducedOver : std::uint8_t { dp_cp, dp_cp_tp, edp, ends };

struct HeldTensor {
  std::int64_t numel = 0;  ///< on this rank
  DType dtype = DType::f32;
  ReducedOver reduced = ReducedOver::dp_cp;
  bool is_copy = false;  ///< of the embedding, which another pipeline rank owns
  bool in_mtp = false;
  bool in_fp8 = false;  ///< multiplied in FP8, in copies kept beside it
};

std::int64_t ranks_of(ReducedOver reduced, const LayoutSizes& sizes);

/// The parameters (no router biases) of this part. @param dtype  of weights; routers and scalar heads are in its
/// accumulation type.
std::vector<HeldTensor> held_tensors(const ModelConfig& config, DType dtype, const ModelPart& part,
                                     const LayoutSizes& sizes);

}  // namespace athanor
