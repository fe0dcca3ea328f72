#include "src/model/kv_cache.hpp"

#include <limits>

namespace athanor {

KvCache::KvCache(Backend& ops, const ModelConfig& config, DType dtype, std::int64_t num_pages, std::int64_t page_rows,
                 std::int64_t num_layers, int tp, CacheForm form)
    : page_rows_(page_rows) {
  const std::int64_t rows = num_pages * page_rows;
  if (!whole_page(page_rows))
    throw ConfigError("a page of the key/value cache has 16, 32, 64, ... tokens, found " + std::to_string(page_rows) +
                      " (rl.page_tokens)");
  if (num_pages <= 0 || rows > std::numeric_limits<std::int32_t>::max())
    throw ConfigError("a key/value cache has 1 to 2^31 - 1 tokens, found " + std::to_string(num_pages) + " pages of " +
                      std::to_string(page_rows) + "; lower rl.slots or rl.cache_tokens");
  layers_.resize(static_cast<std::size_t>(num_layers));
  for (LayerCache& layer : layers_) {
    layer.page_rows = page_rows;
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
