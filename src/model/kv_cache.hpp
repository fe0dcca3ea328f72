// The attention cache of all layers: num_slots sequences of at most rows_per_slot tokens each.
// Law: as latents MLA keeps kv_lora_rank + qk_rope_head_dim numbers a token and layer, [normalised c_kv | rotated
// k_pe]; as heads num_heads * (qk_nope_head_dim + qk_rope_head_dim + v_head_dim). GQA keeps a key and a value of
// num_kv_heads * head_dim each. Rows are written by Transformer::decode only.
#pragma once

#include <cstdint>
#include <vector>

#include "src/backend/backend.hpp"
#include "src/model/model_config.hpp"
#include "src/nn/decode_rows.hpp"

namespace athanor {

class KvCache {
 public:
  /// @param num_layers  of the chunk that uses it.   @param tp  ranks among which the key/value heads are cut.
  KvCache(Backend& ops, const ModelConfig& config, DType dtype, std::int64_t num_slots, std::int64_t rows_per_slot,
          std::int64_t num_layers, int tp, CacheForm form);
  /// Of a whole model on one rank.
  KvCache(Backend& ops, const ModelConfig& config, DType dtype, std::int64_t num_slots, std::int64_t rows_per_slot,
          CacheForm form = CacheForm::latent)
      : KvCache(ops, config, dtype, num_slots, rows_per_slot, config.num_layers, 1, form) {}

  /// In every layer: row to_R[r] = row from_R[r] (i32). No row is both.
  void copy_rows(Backend& ops, const Tensor& from_R, const Tensor& to_R, Stream& stream);

  LayerCache& layer(std::int64_t index) { return layers_[static_cast<std::size_t>(index)]; }
  std::int64_t num_slots() const { return num_slots_; }
  std::int64_t rows_per_slot() const { return rows_per_slot_; }
  /// Numbers kept for one token in one layer.
  static std::int64_t numbers_per_token(const ModelConfig& config, CacheForm form = CacheForm::latent);

 private:
  std::int64_t num_slots_, rows_per_slot_;
  std::vector<LayerCache> layers_;
};

}  // namespace athanor
