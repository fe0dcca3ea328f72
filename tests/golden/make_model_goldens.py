#!/usr/bin/env python3
"""Makes tests/golden/model/*.json: logits, loss and gradients of tiny models by Hugging Face transformers.

An independent implementation's answers for DeepSeek-V3 (with and without query compression), V2, Qwen2, Qwen3, Llama-3.
The files hold the configuration, token ids, logits, loss and some gradients, but no weights: element i of the weight with
canonical name N is a formula of N and i (see `weight_values`), which the test evaluates too.

Run where PyTorch and transformers are installed (any recent CPU build does; made with torch 2.6.0, transformers 4.56.2):
    python3 -m venv venv && venv/bin/pip install torch==2.6.0 transformers==4.56.2 numpy
    venv/bin/python tests/golden/make_model_goldens.py tests/golden/model

Known difference, kept out of the way: transformers fills the scores of excluded expert groups with 0, the released
DeepSeek code and this project with -inf. The selection biases here are not negative, so 0 never wins. And its V2 does not
multiply the softmax scale by YaRN's mscale, so the V2 model here has a plain rotary embedding.
"""
import json
import pathlib
import sys

import numpy as np
import torch
from transformers import (DeepseekV2Config, DeepseekV2ForCausalLM, DeepseekV3Config, DeepseekV3ForCausalLM, LlamaConfig,
                          LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM, Qwen3Config, Qwen3ForCausalLM)

SEQUENCES, LENGTH, VOCAB = 2, 12, 64


def stable_hash(text):
    """FNV-1a, 64 bit, as src/base/rng.hpp."""
    value = 0xCBF29CE484222325
    for byte in text.encode():
        value = ((value ^ byte) * 0x100000001B3) % 2**64
    return value


def weight_values(name, shape):
    """Element i: splitmix64(hash(name) + i), upper 24 bits as a number in [-1, 1). Norm weights: 1 + 0.3 of it; biases of
    the router: 0.1 (1 + it); matrices: it times 1.7 / sqrt(columns), so that sums keep their size."""
    count = int(np.prod(shape))
    with np.errstate(over="ignore"):
        z = np.uint64(stable_hash(name)) + np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
    unit = (z >> np.uint64(40)).astype(np.float64) / 2**23 - 1.0
    if name.endswith("norm.weight"):
        values = 1.0 + 0.3 * unit
    elif name.endswith("router.bias"):
        values = 0.1 * (1.0 + unit)
    else:
        values = unit * 1.7 / np.sqrt(shape[-1])
    return values.reshape(shape)


ATTENTION = {
    "q_proj.weight": "w_q", "q_proj.bias": "b_q", "k_proj.weight": "w_k", "k_proj.bias": "b_k", "v_proj.weight": "w_v",
    "v_proj.bias": "b_v", "o_proj.weight": "w_o", "q_norm.weight": "q_norm.weight", "k_norm.weight": "k_norm.weight",
    "q_a_proj.weight": "w_q_a", "q_a_layernorm.weight": "q_norm.weight", "q_b_proj.weight": "w_q_b",
    "kv_a_proj_with_mqa.weight": "w_kv_a", "kv_a_layernorm.weight": "kv_norm.weight", "kv_b_proj.weight": "w_kv_b",
}
FFN = {"gate_proj.weight": "w_gate", "up_proj.weight": "w_up", "down_proj.weight": "w_down"}


def canonical(name):
    """(canonical name, expert or None) of a transformers parameter."""
    whole = {"model.embed_tokens.weight": "embedding.weight", "model.norm.weight": "final_norm.weight",
             "lm_head.weight": "head.weight"}
    if name in whole:
        return whole[name], None
    _, _, layer, rest = name.split(".", 3)
    prefix = f"layers.{layer}."
    if rest == "input_layernorm.weight":
        return prefix + "attention_norm.weight", None
    if rest == "post_attention_layernorm.weight":
        return prefix + "ffn_norm.weight", None
    part, rest = rest.split(".", 1)
    if part == "self_attn":
        return prefix + "attention." + ATTENTION[rest], None
    if rest == "gate.weight":
        return prefix + "moe.router.weight", None
    if rest == "gate.e_score_correction_bias":
        return prefix + "moe.router.bias", None
    if rest.startswith("experts."):
        _, expert, rest = rest.split(".", 2)
        return prefix + "moe.experts." + FFN[rest], int(expert)
    if rest.startswith("shared_experts."):
        return prefix + "moe.shared." + FFN[rest.split(".", 1)[1]], None
    return prefix + "ffn." + FFN[rest], None


def tensors_of(model):
    """Parameters and buffers that checkpoints hold, by name; a tied head once."""
    state = dict(model.named_parameters())
    state.update({n: b for n, b in model.named_buffers() if n.endswith("e_score_correction_bias")})
    return state


def fill(model, num_experts):
    for name, tensor in tensors_of(model).items():
        target, expert = canonical(name)
        if expert is None:
            values = weight_values(target, tuple(tensor.shape))
        else:
            values = weight_values(target, (num_experts, *tensor.shape))[expert]
        with torch.no_grad():
            tensor.copy_(torch.from_numpy(values))


def gradient(model, wanted):
    """Gradient of a canonical tensor; experts stacked."""
    parts = [(expert, tensor.grad) for name, tensor in model.named_parameters()
             for target, expert in [canonical(name)] if target == wanted]
    if parts[0][0] is None:
        return parts[0][1].numpy().ravel()
    parts.sort(key=lambda part: part[0])
    return np.concatenate([grad.numpy().ravel() for _, grad in parts])


def numbers(values):
    return [float(f"{value:.9g}") for value in np.asarray(values).ravel()]


def write(folder, name, model, config, gradients):
    model = model.double().eval()
    fill(model, config.get("num_routed_experts", 0))
    for part, module in model.named_modules():  # the router answers in f32, which f64 experts cannot add
        if part.endswith("mlp.gate"):
            module.register_forward_hook(lambda _module, _inputs, output: (output[0], output[1].double()))
    tokens = np.random.default_rng(7).integers(0, VOCAB, (SEQUENCES, LENGTH))
    output = model(input_ids=torch.from_numpy(tokens), labels=torch.from_numpy(tokens), use_cache=False)
    output.loss.backward()
    golden = {"config": config, "num_sequences": SEQUENCES, "tokens_per_sequence": LENGTH,
              "tokens": tokens.ravel().tolist(), "loss": float(output.loss.detach()),
              "logits": numbers(output.logits.detach()),
              "gradients": {wanted: numbers(gradient(model, wanted)[:256]) for wanted in gradients}}
    path = pathlib.Path(folder) / f"{name}.json"
    path.write_text(json.dumps(golden, indent=None, separators=(",", ":")) + "\n")
    print(path, path.stat().st_size, "bytes, loss", golden["loss"])


# What the DeepSeek models here have in common: transformers' names, then ours.
THEIRS = dict(vocab_size=VOCAB, hidden_size=32, intermediate_size=48, moe_intermediate_size=16, num_hidden_layers=3,
              num_attention_heads=4, num_key_value_heads=4, n_shared_experts=2, n_routed_experts=8, routed_scaling_factor=2.5,
              kv_lora_rank=16, qk_rope_head_dim=8, v_head_dim=6, qk_nope_head_dim=10, n_group=4, topk_group=2,
              num_experts_per_tok=3, first_k_dense_replace=1, max_position_embeddings=64, rope_theta=1000.0,
              rms_norm_eps=1e-6, attn_implementation="eager")
OURS = dict(attention="mla", vocab_size=VOCAB, dim=32, inter_dim=48, moe_inter_dim=16, num_layers=3, num_heads=4,
            num_shared_experts=2, num_routed_experts=8, route_scale=2.5, kv_lora_rank=16, qk_rope_head_dim=8, v_head_dim=6,
            qk_nope_head_dim=10, num_expert_groups=4, num_limited_groups=2, experts_per_token=3, first_k_dense=1,
            max_positions=64, rope_theta=1000.0, rope_interleaved=True, norm_eps=1e-6)
WANTED = ["embedding.weight", "layers.0.attention.w_kv_a", "layers.2.attention.kv_norm.weight",
          "layers.1.moe.router.weight", "layers.2.moe.experts.w_down", "layers.1.moe.shared.w_up", "final_norm.weight",
          "head.weight"]


def deepseek_v3(folder, name, q_lora_rank, mscale_all_dim):
    rope = {"rope_type": "yarn", "type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16,
            "beta_fast": 4.0, "beta_slow": 1.0, "mscale": 1.0, "mscale_all_dim": mscale_all_dim}
    model = DeepseekV3ForCausalLM(DeepseekV3Config(
        q_lora_rank=q_lora_rank, norm_topk_prob=True, rope_scaling=rope, rope_interleave=True, **THEIRS))
    config = dict(q_lora_rank=q_lora_rank or 0, router_sigmoid=True, rope_scaling="yarn", rope_factor=4.0,
                  rope_original_max_positions=16, rope_beta_fast=4.0, rope_beta_slow=1.0, rope_mscale=1.0,
                  rope_mscale_all_dim=mscale_all_dim, **OURS)
    write(folder, name, model, config, WANTED + ["layers.1.attention." + ("w_q_b" if q_lora_rank else "w_q")])


def deepseek_v2(folder, name):
    model = DeepseekV2ForCausalLM(DeepseekV2Config(
        q_lora_rank=24, norm_topk_prob=False, topk_method="group_limited_greedy", **THEIRS))
    write(folder, name, model, dict(q_lora_rank=24, router_sigmoid=False, **OURS),
          WANTED + ["layers.1.attention.w_q_a"])


def dense(folder, name, config_class, model_class, extra, own):
    model = model_class(config_class(
        vocab_size=VOCAB, hidden_size=32, intermediate_size=40, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=64, attn_implementation="eager", **extra))
    config = dict(attention="gqa", vocab_size=VOCAB, dim=32, inter_dim=40, num_layers=2, num_heads=4, num_kv_heads=2,
                  head_dim=extra.get("head_dim", 8), max_positions=64, rope_theta=extra["rope_theta"],
                  tied_head=extra["tie_word_embeddings"], norm_eps=extra["rms_norm_eps"], rope_interleaved=False, **own)
    wanted = ["embedding.weight", "layers.0.attention.w_k", "layers.1.attention.w_v", "layers.0.ffn.w_gate",
              "layers.1.ffn_norm.weight", "final_norm.weight"]
    wanted += ["layers.1.attention.b_q", "layers.0.attention.b_v"] if own.get("qkv_bias") else []
    wanted += ["layers.0.attention.q_norm.weight", "layers.1.attention.k_norm.weight"] if own.get("qk_norm") else []
    write(folder, name, model, config, wanted)


def main():
    folder = sys.argv[1]
    deepseek_v3(folder, "deepseek_v3", 24, 1.0)
    deepseek_v3(folder, "deepseek_v3_direct_query", None, 0.707)
    deepseek_v2(folder, "deepseek_v2")
    dense(folder, "qwen2", Qwen2Config, Qwen2ForCausalLM,
          dict(rope_theta=10000.0, tie_word_embeddings=True, rms_norm_eps=1e-6), dict(qkv_bias=True))
    dense(folder, "qwen3", Qwen3Config, Qwen3ForCausalLM,
          dict(rope_theta=1000000.0, tie_word_embeddings=True, rms_norm_eps=1e-6, head_dim=12), dict(qk_norm=True))
    llama3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
              "original_max_position_embeddings": 32}
    dense(folder, "llama3", LlamaConfig, LlamaForCausalLM,
          dict(rope_theta=500.0, tie_word_embeddings=False, rms_norm_eps=1e-5, rope_scaling=llama3),
          dict(rope_scaling="llama3", rope_factor=8.0, rope_low_freq_factor=1.0, rope_high_freq_factor=4.0,
               rope_original_max_positions=32))


if __name__ == "__main__":
    main()
