#include "jobs/rl/token_numbers.hpp"

#include "parallel/packing/sequence_packer.hpp"

namespace athanor {
std::vector<double> token_numbers(Environment& env, const MeshModel& model, const MicroBatch& micro_batch,
                                  const TokenForward& forward) {
  ExecContext ctx{*env.ops, *env.compute, *env.comm, micro_batch, model.dtype(), false};
  Tensor numbers_T = forward(ctx);
  if (env.mesh->size(Axis::pp) > 1) {
    if (!numbers_T.defined()) numbers_T = ctx.empty_acc({micro_batch.tokens_T.dim(0)});
    env.mesh->along(Axis::pp).broadcast(numbers_T, model.head_rank(), *env.compute);
  }
  numbers_T = of_whole_rows(*env.ops, env.mesh->along(Axis::cp), micro_batch, numbers_T, *env.compute);
  const auto download = [&](auto type) {
    std::vector<decltype(type)> numbers(static_cast<std::size_t>(numbers_T.numel()));
    env.ops->download(std::as_writable_bytes(std::span(numbers)), numbers_T, *env.compute);
    env.compute->synchronize();
    return std::vector<double>(numbers.begin(), numbers.end());
  };
  return numbers_T.dtype() == DType::f64 ? download(double{}) : download(float{});
}

}  // namespace athanor
