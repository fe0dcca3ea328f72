// Rows that attend to a cache instead of to each other: new tokens of sequences being generated. A slot holds one
// sequence, in pages of the cache that the page table names; a call carries any number of rows of any slots: many
// consecutive ones of a slot are a prefill, one a slot is a decode step. Law: all rows are written to the cache before
// any row reads it, and row r sees the first lengths_R[r] tokens of its slot. Slots may share pages that no row of the
// call writes.
#pragma once

#include <cstdint>

#include "src/backend/tensor.hpp"

namespace athanor {

struct DecodeRows {
  Tensor tokens_R;      ///< i32
  Tensor positions_R;   ///< i32, place of the token in its sequence
  Tensor slots_R;       ///< i32, which sequence of the cache
  Tensor lengths_R;     ///< i32, tokens it may attend to: positions_R + 1, or 0: the row counts for nothing
  Tensor pages_SP;      ///< i32, the pages of each slot in order of its tokens
  Tensor logit_rows_N;  ///< i32, rows whose logits are wanted; undefined: all
  Tensor cache_rows_R;  ///< i32, where keys and values go (Backend::cache_rows), distinct; filled by the model
};

/// What MLA keeps of a token. GQA has one form for both.
enum class CacheForm : std::uint8_t {
  latent,  ///< [normalised c_kv | rotated k_pe] in k, no v: attention in the absorbed form, fewest numbers a token
  heads,   ///< keys and values of every head: attention in the form, and to the bits, of training
};

/// One layer's part of the cache: [num_pages * page_rows, width].
struct LayerCache {
  Tensor k, v;
  std::int64_t page_rows = 0;
};

}  // namespace athanor
