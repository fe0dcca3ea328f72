// Every logical tensor of a model, by its canonical, layout-free name. Law: this page is a pure function of the
// configuration; a test holds the layers to it. Checkpoints, import and export, counts and plans are made from it.
//
//   embedding.weight [V,D]                            head.weight [V,D] (absent when tied)     final_norm.weight [D]
//   value_head.weight [1,D] value_head.bias [1] (scalar head, in place of head.weight)
//   layers.L.attention_norm.weight [D]                layers.L.ffn_norm.weight [D]
//   MLA  layers.L.attention.w_q [H(n+r),D], or .w_q_a [q_lora,D] .q_norm.weight [q_lora] .w_q_b [H(n+r),q_lora]
//        layers.L.attention.w_kv_a [C+r,D] .kv_norm.weight [C] .w_kv_b [H(n+v),C] .w_o [D,Hv]
//   GQA  layers.L.attention.w_q [HQ,D] .w_k [GQ,D] .w_v [GQ,D] (.b_q .b_k .b_v) (.q_norm.weight .k_norm.weight [Q])
//        .w_o [D,HQ]
//   dense layers.L.ffn.w_gate [F,D] .w_up [F,D] .w_down [D,F]
//   MoE  layers.L.moe.router.weight [E,D] .router.bias [E] (state, no parameter)
//        layers.L.moe.experts.w_gate [E,F,D] .w_up [E,F,D] .w_down [E,D,F]
//        layers.L.moe.shared.w_gate [nF,D] .w_up [nF,D] .w_down [D,nF]
//   MTP  mtp.K.embedding_norm.weight [D] .hidden_norm.weight [D] .eh_proj [D,2D] .final_norm.weight [D]
//        mtp.K.block.… as a layer's
#pragma once

#include <string>
#include <vector>

#include "src/base/shape.hpp"
#include "src/model/model_config.hpp"

namespace athanor {

struct LogicalTensor {
  enum class Kind : std::uint8_t {
    embedding,
    head,
    matrix,
    expert_matrix,
    router_weight,
    router_bias,
    norm,
    bias,
    value_head
  };
  std::string name;
  Shape shape;
  Kind kind = Kind::matrix;
  bool in_mtp = false;
};

/// All of them, in the order in which Transformer registers its parameters; a router's bias follows its weight.
std::vector<LogicalTensor> logical_tensors(const ModelConfig& config);

}  // namespace athanor
