// The attention cache of all layers: num_pages pages of page_rows tokens each, which a PageAllocator gives to
// sequences. Law: as latents MLA keeps kv_lora_rank + qk_rope_head_dim numbers a token and layer, [normalised c_kv |
// rotated k_pe]; as heads num_heads * (qk_nope_head_dim + qk_rope_head_dim + v_head_dim). GQA keeps a key and a value
// of num_kv_heads * head_dim each. Rows are written by Transformer::decode only.
#pragma once

#include <cstdint>
#include <vector>

#include "src/backend/backend.hpp"
#include "src/model/model_config.hpp"
#include "src/nn/decode_rows.hpp"

namespace athanor {

class KvCache {
 public:
  /// @param page_rows  16, 32, 64, ...   @param num_layers  of the chunk that uses it.
  /// @param tp  ranks among which the key/value heads are cut.   @throws ConfigError for sizes no cache has.
  KvCache(Backend& ops, const ModelConfig& config, DType dtype, std::int64_t num_pages, std::int64_t page_rows,
          std::int64_t num_layers, int tp, CacheForm form);
  /// Of a whole model on one rank.
  KvCache(Backend& ops, const ModelConfig& config, DType dtype, std::int64_t num_pages, std::int64_t page_rows,
          CacheForm form = CacheForm::latent)
      : KvCache(ops, config, dtype, num_pages, page_rows, config.num_layers, 1, form) {}

  /// In every layer: row to_R[r] = row from_R[r] (i32). No row is both.
  void copy_rows(Backend& ops, const Tensor& from_R, const Tensor& to_R, Stream& stream);

  LayerCache& layer(std::int64_t index) { return layers_[static_cast<std::size_t>(index)]; }
  std::int64_t page_rows() const { return page_rows_; }
  /// Numbers kept for one token in one layer.
  static std::int64_t numbers_per_token(const ModelConfig& config, CacheForm form = CacheForm::latent);

 private:
  std::int64_t page_rows_;
  std::vector<LayerCache> layers_;
};

}  // namespace athanor
