// Every operation of a device as a share of what bounds it: the matrix-product peak or the copy bandwidth of this
// process, whichever the operation would need longer for. Through the Backend interface alone, so that it runs on every
// device.
// Laws
//  * Bytes are counted with every tensor moved once, FLOPs as the mathematics needs them (causal attention: the lower
//    half). A share above 1 says that a part came from a cache.
//  * A time is the median of several batches of calls, each long enough for a clock, with one wait a batch.
//  * An operation that throws does not keep the others from being measured; run() names it.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "src/backend/backend.hpp"

namespace athanor {

class OperationBench {
 public:
  /// Measures both ceilings. `ops` and `stream` must outlive this.   @param speaks  prints a table with JSON lines.
  OperationBench(Backend& ops, Stream& stream, DType dtype, bool speaks);

  /// @returns "NAME: what was thrown" of every operation that threw.
  std::vector<std::string> run();

 private:
  /// T tokens, R tokens where memory bounds, D model width, F inner width, H heads of Q entries, V vocabulary, B
  /// sequences that are written at once, C tokens in the cache of each, E experts.
  struct Sizes {
    std::int64_t T, R, D, F, H, Q, V, B, C, E;
    double batch_seconds;
  };
  struct Work {
    double flops = 0.0, bytes = 0.0;
  };
  static Sizes sizes_for(Device device);

  // products.cpp
  void products();
  void fp8_products();
  void expert_products();
  // attention_rows.cpp
  void attention(const std::string& name, std::int64_t kv_heads, std::int64_t qk_dim, std::int64_t v_dim);
  void decode_attention(const std::string& name, std::int64_t heads, std::int64_t kv_heads, std::int64_t qk_dim,
                        std::int64_t v_dim, bool absorbed);
  void decode_products();
  void sampling();
  // memory_rows.cpp
  void norms_and_sums();
  void rotation_and_assembly();
  void tables_and_losses();
  void routing();
  void optimizer();

  Tensor numbers(const Shape& shape, DType dtype);
  Tensor numbers(const Shape& shape) { return numbers(shape, dtype_); }
  Tensor ids(std::span<const std::int32_t> values);
  /// `count` random ids below `end`.
  Tensor random_ids(std::int64_t count, std::int64_t end);
  /// Tensors of one operation or of a few that share them; a failure to make them is told as theirs.
  void family(const std::string& name, const std::function<void()>& rows);
  void tell(const std::string& name, const Work& work, const std::function<void()>& call);
  void computes(const std::string& name, std::int64_t flops, const std::function<void()>& call) {
    tell(name, {.flops = static_cast<double>(flops)}, call);
  }
  /// @param bytes  read and written where every tensor moves once.
  void moves(const std::string& name, std::size_t bytes, const std::function<void()>& call) {
    tell(name, {.bytes = static_cast<double>(bytes)}, call);
  }
  double median_seconds(const std::function<void()>& call);

  Backend& ops_;
  Stream& stream_;
  DType dtype_, acc_;
  Sizes s_;
  double peak_, copy_;
  bool speaks_;
  std::uint64_t draws_ = 0;
  std::vector<std::string> failures_;
};

}  // namespace athanor
