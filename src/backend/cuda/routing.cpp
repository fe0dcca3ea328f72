// The router: scores, group-limited choice of K experts, weights, their gradient; balance loss, counts, bias update.
// Source: DeepSeek-V3 report section 2.1.2 and eq. 12-20. Law: a token's result depends on its own logits alone; ties
// go to the lower id.
#include "src/backend/cuda/routing_kernels.cuh"

#include "src/backend/cuda/call.hpp"
#include "src/backend/cuda/cuda_backend.hpp"

namespace athanor::cuda {
namespace {

Routing routing_of(const char* op, const Tensor& scores_TE, const Tensor& expert_ids_TK, const Tensor& weights_TK,
                   const RouterArgs& args) {
  require_acc(op, scores_TE);
  require_routing(op, scores_TE, expert_ids_TK, weights_TK, args);
  return {.tokens = scores_TE.shape().flat_rows(),
          .num_experts = args.num_experts,
          .top_k = args.top_k,
          .num_groups = args.num_groups,
          .num_limited_groups = args.num_limited_groups,
          .route_scale = args.route_scale,
          .softmax = args.score_function == ScoreFunction::softmax,
          .normalize = args.normalize_weights,
          .group_score_is_max = args.group_score_is_max};
}

}  // namespace

void CudaBackend::router_forward(Tensor scores_TE, Tensor expert_ids_TK, Tensor weights_TK, const Tensor& logits_TE,
                                 const Tensor& bias_E, const RouterArgs& args, Stream& stream) {
  const char* op = "router_forward";
  const Routing routing = routing_of(op, scores_TE, expert_ids_TK, weights_TK, args);
  require(logits_TE.numel() == scores_TE.numel() && logits_TE.dtype() == scores_TE.dtype(), op,
          "scores like the logits", scores_TE, logits_TE);
  require(bias_E.numel() == args.num_experts && bias_E.dtype() == scores_TE.dtype(), op, "a bias for every expert",
          bias_E, scores_TE);
  const Call call(op, stream, {scores_TE, expert_ids_TK, weights_TK, logits_TE, bias_E});
  call.check(launch_router_forward(raw(scores_TE), data<std::int32_t>(expert_ids_TK), raw(weights_TK), raw(logits_TE),
                                   raw(bias_E), scores_TE.dtype(), routing, call.stream()));
}

void CudaBackend::router_backward(Tensor dlogits_TE, const Tensor& dweights_TK, const Tensor& dscores_TE,
                                  const Tensor& scores_TE, const Tensor& expert_ids_TK, const RouterArgs& args,
                                  Stream& stream) {
  const char* op = "router_backward";
  const Routing routing = routing_of(op, scores_TE, expert_ids_TK, dweights_TK, args);
  require(dlogits_TE.numel() == scores_TE.numel() && dlogits_TE.dtype() == scores_TE.dtype(), op,
          "a gradient like the scores", dlogits_TE, scores_TE);
  if (dscores_TE.defined())
    require(dscores_TE.numel() == scores_TE.numel() && dscores_TE.dtype() == scores_TE.dtype(), op,
            "a gradient like the scores", dscores_TE, scores_TE);
  const Call call(op, stream, {dlogits_TE, dweights_TK, dscores_TE, scores_TE, expert_ids_TK});
  call.check(launch_router_backward(raw(dlogits_TE), raw(dweights_TK), raw(dscores_TE), raw(scores_TE),
                                    data<std::int32_t>(expert_ids_TK), scores_TE.dtype(), routing,
                                    call.ids(args.num_experts), call.stream()));
}

void CudaBackend::sequence_balance_loss(Tensor loss_1, Tensor dscores_TE, const Tensor& scores_TE, std::int64_t top_k,
                                        std::int64_t tokens_per_sequence, double alpha, double loss_scale,
                                        Stream& stream) {
  const char* op = "sequence_balance_loss";
  const std::int64_t tokens = scores_TE.shape().flat_rows(), num_experts = scores_TE.shape().back();
  require_acc(op, scores_TE);
  require(
      tokens_per_sequence > 0 && tokens % tokens_per_sequence == 0, op,
      [&] { return "sequences of " + std::to_string(tokens_per_sequence) + " tokens"; }, scores_TE);
  require(dscores_TE.numel() == scores_TE.numel() && dscores_TE.dtype() == scores_TE.dtype(), op,
          "a gradient like the scores", dscores_TE, scores_TE);
  require(loss_1.numel() == 1 && loss_1.dtype() == scores_TE.dtype(), op, "one loss of the scores' type", loss_1,
          scores_TE);
  require(
      top_k > 0 && top_k <= num_experts, op, [&] { return "experts for top_k " + std::to_string(top_k); }, scores_TE);
  const Balance balance{tokens / tokens_per_sequence, tokens_per_sequence, num_experts, top_k, alpha, loss_scale};
  const Call call(op, stream, {loss_1, dscores_TE, scores_TE});
  auto* scratch = call.scratch<std::byte>(arena(), balance_scratch_bytes(balance));
  call.check(launch_sequence_balance_loss(raw(loss_1), raw(dscores_TE), scratch, raw(scores_TE), scores_TE.dtype(),
                                          balance, call.stream()));
}

void CudaBackend::count_experts(Tensor counts_E, const Tensor& expert_ids_TK, Stream& stream) {
  require(counts_E.dtype() == DType::i64 && expert_ids_TK.dtype() == DType::i32, "count_experts",
          "i64 counts and i32 ids", counts_E, expert_ids_TK);
  const Call call("count_experts", stream, {counts_E, expert_ids_TK});
  call.check(launch_count_experts(data<std::int64_t>(counts_E), data<std::int32_t>(expert_ids_TK),
                                  expert_ids_TK.numel(), counts_E.numel(), call.ids(counts_E.numel()), call.stream()));
}

void CudaBackend::router_bias_update(Tensor bias_E, const Tensor& counts_E, double speed, Stream& stream) {
  require_acc("router_bias_update", bias_E);
  require(counts_E.dtype() == DType::i64 && counts_E.numel() == bias_E.numel(), "router_bias_update",
          "an i64 count for every bias", counts_E, bias_E);
  const Call call("router_bias_update", stream, {bias_E, counts_E});
  call.check(launch_router_bias_update(raw(bias_E), data<std::int64_t>(counts_E), speed, bias_E.dtype(), bias_E.numel(),
                                       call.stream()));
}

}  // namespace athanor::cuda
