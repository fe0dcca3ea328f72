// Names, units and help of section [model].
#include "io/options/job_options.hpp"

namespace athanor {
namespace {

void describe_attention(OptionTable& table, ModelConfig& model) {
  table.add_choice("attention", model.attention, {{"mla", AttentionKind::mla}, {"gqa", AttentionKind::gqa}},
                   "mla: multi-head latent attention (DeepSeek); gqa: grouped queries (Qwen, Llama)");
  table.add("num_heads", model.num_heads, "heads", "query heads", kPositive);
  table.add("q_lora_rank", model.q_lora_rank, "numbers", "mla: width of the compressed query; 0: not compressed");
  table.add("kv_lora_rank", model.kv_lora_rank, "numbers", "mla: width of the latent that is cached", kPositive);
  table.add("qk_nope_head_dim", model.qk_nope_head_dim, "numbers", "mla: part of a head without rotation", kPositive);
  table.add("qk_rope_head_dim", model.qk_rope_head_dim, "numbers",
            "mla: rotated part of a head, shared by the heads of the key", kPositive);
  table.add("v_head_dim", model.v_head_dim, "numbers", "mla: value width of a head", kPositive);
  table.add("num_kv_heads", model.num_kv_heads, "heads", "gqa: key and value heads; divides num_heads", kPositive);
  table.add("head_dim", model.head_dim, "numbers", "gqa: width of a head", kPositive);
  table.add("qkv_bias", model.qkv_bias, "gqa: biases of query, key and value (Qwen2)");
  table.add("qk_norm", model.qk_norm, "gqa: RMSNorm of each query and key head (Qwen3)");
}

void describe_rope(OptionTable& table, ModelConfig& model) {
  table.add("max_positions", model.max_positions, "tokens", "longest sequence: rows of the rotary tables", kPositive);
  table.add("rope_interleaved", model.rope_interleaved, "rotate pairs (2i, 2i+1), as DeepSeek; false: (i, i + half)");
  table.add("rope_theta", model.rope.theta, "number", "base of the rotary frequencies", kPositive);
  table.add_choice("rope_scaling", model.rope.scaling,
                   {{"none", RopeScaling::none}, {"yarn", RopeScaling::yarn}, {"llama3", RopeScaling::llama3}},
                   "how frequencies are stretched for long contexts");
  table.add("rope_factor", model.rope.factor, "number", "yarn, llama3: how much longer the context becomes", kPositive);
  table.add("rope_original_max_positions", model.rope.original_max_positions, "tokens",
            "yarn, llama3: context before stretching", kPositive);
  table.add("rope_beta_fast", model.rope.beta_fast, "rotations", "yarn: frequencies above are kept");
  table.add("rope_beta_slow", model.rope.beta_slow, "rotations", "yarn: frequencies below are divided by the factor");
  table.add("rope_mscale", model.rope.mscale, "number", "yarn: attention temperature, rotated part");
  table.add("rope_mscale_all_dim", model.rope.mscale_all_dim, "number", "yarn: attention temperature, softmax scale");
  table.add("rope_low_freq_factor", model.rope.low_freq_factor, "number",
            "llama3: wavelengths above original/this are divided");
  table.add("rope_high_freq_factor", model.rope.high_freq_factor, "number",
            "llama3: wavelengths below original/this are kept");
}

void describe_experts(OptionTable& table, ModelConfig& model) {
  table.add("num_routed_experts", model.num_routed_experts, "experts",
            "of a mixture-of-experts layer; 0: every layer is dense");
  table.add("num_shared_experts", model.num_shared_experts, "experts", "that see every token");
  table.add("experts_per_token", model.experts_per_token, "experts", "chosen by the router (top-k)", kPositive);
  table.add("moe_inter_dim", model.moe_inter_dim, "numbers", "SwiGLU width of one expert", kPositive);
  table.add("first_k_dense", model.first_k_dense, "layers", "at the start that stay dense");
  table.add("num_expert_groups", model.num_expert_groups, "groups", "the experts stand in, one a node", kPositive);
  table.add("num_limited_groups", model.num_limited_groups, "groups", "a token may choose from", kPositive);
  table.add("router_sigmoid", model.router_sigmoid,
            "V3: sigmoid scores with selection bias, weights normalised; false: V2's softmax");
  table.add("route_scale", model.route_scale, "number", "times the weights of the chosen experts");
  table.add("balance_loss_alpha", model.balance_loss_alpha, "number", "weight of the sequence-wise balance loss");
}

}  // namespace

void describe(OptionTable& table, ModelConfig& model) {
  table.section("model", "[model] one Transformer: DeepSeek-V3/V2, Qwen2/3, Llama-3");
  table.add("vocab_size", model.vocab_size, "tokens", "rows of the embedding and of the head; at least the tokenizer's",
            kPositive);
  table.add("dim", model.dim, "numbers", "width of the residual stream", kPositive);
  table.add("num_layers", model.num_layers, "layers", "Transformer blocks", kPositive);
  table.add("inter_dim", model.inter_dim, "numbers", "SwiGLU width of a dense layer", kPositive);
  table.add("norm_eps", model.norm_eps, "number", "added to the mean square in RMSNorm");
  table.add("init_std", model.init_std, "number", "standard deviation of new matrices");
  table.add("tied_head", model.tied_head, "the head of tokens is the embedding");
  table.add_choice(
      "head", model.head, {{"tokens", HeadKind::tokens}, {"scalar", HeadKind::scalar}},
      "tokens: logits of the next token; scalar: one number a position, as reward models and critics have");
  describe_attention(table, model);
  describe_rope(table, model);
  describe_experts(table, model);
  table.add("mtp_depth", model.mtp_depth, "modules", "multi-token prediction: further tokens predicted in training");
  table.add("fp8", model.fp8,
            "linear maps of attention and feed-forward networks multiply in FP8 (E4M3, 1x128 and 128x128 scales) as "
            "DeepSeek-V3 was trained; run.dtype is that of all else, bf16 or f32");
  table.add(
      "fp8_dispatch", model.fp8_dispatch,
      "with model.fp8: rows of tokens go to their experts, and gradients of their results, as FP8 with scales that are "
      "powers of two, a byte an element; results and gradients of rows return in run.dtype");
  table.add(
      "fp8_activations", model.fp8_activations,
      "with model.fp8: their inputs, gate and up of feed-forward networks are kept for backward in FP8, with scales "
      "that are powers of two, in place of run.dtype; what the map after attention reads is not");
}

}  // namespace athanor
