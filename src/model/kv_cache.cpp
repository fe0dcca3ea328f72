#include "src/model/kv_cache.hpp"

namespace athanor {

KvCache::KvCache(Backend& ops, const ModelConfig& config, DType dtype, std::int64_t num_slots,
                 std::int64_t rows_per_slot, std::int64_t num_layers, int tp, CacheForm form)
    : num_slots_(num_slots), rows_per_slot_(rows_per_slot) {
  if (num_slots <= 0 || rows_per_slot <= 0)
    throw Error("KvCache: wanted at least one slot of at least one row, found " + std::to_string(num_slots) +
                " slots of " + std::to_string(rows_per_slot));
  if (rows_per_slot > config.max_positions)
    throw ConfigError("a sequence of " + std::to_string(rows_per_slot) +
                      " tokens was asked for, but model.max_positions = " + std::to_string(config.max_positions) +
                      "; shorten the sequence or raise model.max_positions");
  const std::int64_t rows = num_slots * rows_per_slot;
  layers_.resize(static_cast<std::size_t>(num_layers));
  for (LayerCache& layer : layers_) {
    layer.rows_per_slot = rows_per_slot;
    if (config.attention == AttentionKind::mla && form == CacheForm::heads) {
      const std::int64_t heads = config.num_heads / tp;
      layer.k = ops.empty({rows, heads * (config.qk_nope_head_dim + config.qk_rope_head_dim)}, dtype);
      layer.v = ops.empty({rows, heads * config.v_head_dim}, dtype);
    } else if (config.attention == AttentionKind::mla) {
      layer.k = ops.empty({rows, config.kv_lora_rank + config.qk_rope_head_dim}, dtype);
    } else {
      layer.k = ops.empty({rows, config.num_kv_heads / tp * config.head_dim}, dtype);
      layer.v = ops.empty({rows, config.num_kv_heads / tp * config.head_dim}, dtype);
    }
  }
}

void KvCache::copy_rows(Backend& ops, const Tensor& from_R, const Tensor& to_R, Stream& stream) {
  for (LayerCache& layer : layers_)
    for (const Tensor* part : {&layer.k, &layer.v}) {
      if (!part->defined()) continue;
      const Tensor moved = ops.empty({from_R.dim(0), part->dim(1)}, part->dtype());
      ops.gather_rows(moved, *part, from_R, stream);
      ops.scatter_rows(*part, moved, to_R, stream);
    }
}

std::int64_t KvCache::numbers_per_token(const ModelConfig& config, CacheForm form) {
  if (config.attention != AttentionKind::mla) return 2 * config.num_kv_heads * config.head_dim;
  if (form == CacheForm::latent) return config.kv_lora_rank + config.qk_rope_head_dim;
  return config.num_heads * (config.qk_nope_head_dim + config.qk_rope_head_dim + config.v_head_dim);
}

}  // namespace athanor
