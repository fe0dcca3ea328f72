#include "src/backend/operand_checks.hpp"

namespace athanor {
namespace {

void require_heads(std::string_view op, const AttentionArgs& args, const Tensor& q, const Tensor& k) {
  require(args.num_heads > 0 && args.num_kv_heads > 0 && args.num_heads % args.num_kv_heads == 0, op,
          "query heads a multiple of key/value heads", q, k);
  require(args.scale > 0, op, "a positive scale", q, k);
  require(args.qk_dim > 0 && args.v_dim > 0 && q.shape().back() == args.num_heads * args.qk_dim, op,
          "queries of H*Q columns", q, k);
  require(k.shape().back() == args.num_kv_heads * args.qk_dim, op, "keys of G*Q columns", k, q);
  require(k.dtype() == q.dtype(), op, "operands of one type", q, k);
}

}  // namespace

void require_numbers(std::string_view op, const Tensor& x, std::initializer_list<const Tensor*> others) {
  for (const Tensor* tensor : others)
    require(tensor->numel() == x.numel() && tensor->dtype() == x.dtype(), op, "one number each, all of one type",
            *tensor, x);
}

void require_rope(std::string_view op, const Tensor& x_TC, const Tensor& positions_T, const Tensor& cos_PR,
                  const Tensor& sin_PR, const RopeArgs& args) {
  const std::int64_t pairs = args.rope_dim / 2;
  require(
      x_TC.shape().back() == args.num_heads * args.head_dim, op,
      [&] { return std::to_string(args.num_heads) + " heads of " + std::to_string(args.head_dim); }, x_TC);
  require(
      args.rope_dim % 2 == 0 && args.offset >= 0 && args.offset + args.rope_dim <= args.head_dim, op,
      [&] {
        return "an even rope_dim " + std::to_string(args.rope_dim) + " at offset " + std::to_string(args.offset) +
               " within a head of " + std::to_string(args.head_dim);
      },
      x_TC);
  require(is_ids(positions_T, x_TC.shape().flat_rows()), op, "one i32 position a row", positions_T, x_TC);
  require(
      cos_PR.shape() == sin_PR.shape() && cos_PR.shape().back() == pairs &&
          cos_PR.dtype() == accumulation_dtype(x_TC.dtype()) && sin_PR.dtype() == cos_PR.dtype(),
      op, [&] { return "tables [positions, " + std::to_string(pairs) + "] of the accumulation type"; }, cos_PR, sin_PR);
}

MlaWidths mla_widths(std::string_view op, const Tensor& k, const Tensor& v, const Tensor& kv, const Tensor& k_pe,
                     std::int64_t num_heads) {
  MlaWidths w{};
  w.tokens = kv.shape().flat_rows();
  w.heads = num_heads;
  w.rope = k_pe.shape().back();
  require(num_heads > 0 && k.shape().back() % num_heads == 0 && v.shape().back() % num_heads == 0, op,
          "widths that are multiples of the heads", k, v);
  w.nope = k.shape().back() / num_heads - w.rope;
  w.value = v.shape().back() / num_heads;
  require(w.nope >= 0 && kv.shape().back() == num_heads * (w.nope + w.value), op, "kv of H*(n+v) columns", kv, k);
  require(
      k.shape().flat_rows() == w.tokens && v.shape().flat_rows() == w.tokens && k_pe.shape().flat_rows() == w.tokens,
      op, "as many rows everywhere", k, k_pe);
  require(k.dtype() == kv.dtype() && v.dtype() == kv.dtype() && k_pe.dtype() == kv.dtype(), op, "operands of one type",
          k, k_pe);
  return w;
}

void require_attention(std::string_view op, const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& o,
                       const Tensor& lse_TH, const Tensor& key_begin_T, const Tensor& key_end_T,
                       const AttentionArgs& args) {
  const std::int64_t tokens = q.shape().flat_rows();
  require_heads(op, args, q, k);
  require(v.shape().back() == args.num_kv_heads * args.v_dim, op, "values of G*V columns", v, q);
  require(o.shape().back() == args.num_heads * args.v_dim, op, "an output of H*V columns", o, q);
  require(o.shape().flat_rows() == tokens, op, "as many rows of o as of q", o, q);
  require(v.shape().flat_rows() == k.shape().flat_rows(), op, "as many rows of v as of k", v, k);
  if (key_end_T.defined())
    require(key_end_T.dtype() == DType::i32 && key_end_T.numel() == tokens, op, "i32 key_end [T]", key_end_T, q);
  else
    require(k.shape().flat_rows() == tokens, op, "as many keys as queries where no key_end is given", q, k);
  require(v.dtype() == q.dtype() && o.dtype() == q.dtype(), op, "operands of one type", v, o);
  require(lse_TH.dtype() == accumulation_dtype(q.dtype()) && lse_TH.numel() == tokens * args.num_heads, op,
          "lse [T, H] of the accumulation type", lse_TH, q);
  require(key_begin_T.dtype() == DType::i32 && key_begin_T.numel() == tokens, op, "i32 key_begin [T]", key_begin_T, q);
}

namespace {

void require_pages(std::string_view op, const Tensor& pages_SP, std::int64_t page_rows) {
  require(pages_SP.dtype() == DType::i32 && pages_SP.shape().ndim() == 2, op, "i32 pages [S, P]", pages_SP);
  require(
      whole_page(page_rows), op, [&] { return "pages of 16, 32, 64, ... rows, not " + std::to_string(page_rows); },
      pages_SP);
}

}  // namespace

void require_attention_cached(std::string_view op, const Tensor& o, const Tensor& q, const Tensor& k_cache,
                              const Tensor& v_cache, const Tensor& pages_SP, const Tensor& slots_R,
                              const Tensor& lengths_R, std::int64_t page_rows, const AttentionArgs& args) {
  const std::int64_t rows = q.shape().flat_rows();
  require_heads(op, args, q, k_cache);
  require(o.shape().flat_rows() == rows && o.shape().back() == args.num_heads * args.v_dim && o.dtype() == q.dtype(),
          op, "an output of H*V columns", o, q);
  if (v_cache.defined())
    require(v_cache.shape().back() == args.num_kv_heads * args.v_dim &&
                v_cache.shape().flat_rows() == k_cache.shape().flat_rows() && v_cache.dtype() == q.dtype(),
            op, "a value cache of G*V columns, rows and type of the key cache", v_cache, k_cache);
  else
    require(args.v_dim <= args.qk_dim, op, "values within the key row (v_dim <= qk_dim)", k_cache, q);
  require_pages(op, pages_SP, page_rows);
  require(
      k_cache.shape().flat_rows() % page_rows == 0, op,
      [&] { return "whole pages of " + std::to_string(page_rows) + " rows"; }, k_cache, q);
  require(is_ids(slots_R, rows) && is_ids(lengths_R, rows), op, "i32 slots [R] and lengths [R]", slots_R, lengths_R);
}

void require_cache_rows(std::string_view op, const Tensor& rows_R, const Tensor& pages_SP, const Tensor& slots_R,
                        const Tensor& positions_R, const Tensor& lengths_R, std::int64_t page_rows) {
  require_pages(op, pages_SP, page_rows);
  require(is_ids(rows_R, rows_R.numel()) && is_ids(slots_R, rows_R.numel()), op, "i32 rows [R] and slots [R]", rows_R,
          slots_R);
  require(is_ids(positions_R, rows_R.numel()) && is_ids(lengths_R, rows_R.numel()), op,
          "i32 positions [R] and lengths [R]", positions_R, lengths_R);
}

void require_sampling_keys(std::string_view op, const Tensor& keys_R, const Tensor& prompts_R, const Tensor& siblings_R,
                           const Tensor& counts_R) {
  const std::int64_t rows = keys_R.numel();
  require(keys_R.dtype() == DType::i64 && prompts_R.dtype() == DType::i64 && prompts_R.numel() == rows, op,
          "i64 keys [R] and prompts [R]", keys_R, prompts_R);
  require(is_ids(siblings_R, rows) && is_ids(counts_R, rows), op, "i32 siblings [R] and counts [R]", siblings_R,
          counts_R);
}

void require_advance_rows(std::string_view op, const WrittenRows& rows, const Tensor& tokens_NR,
                          const Tensor& logprobs_NR, const Tensor& step_1, const Tensor& ids_R,
                          const Tensor& logprobs_R, const Tensor& stop_ids_S) {
  const std::int64_t count = ids_R.numel();
  for (const Tensor* of_row : {&rows.tokens_R, &rows.positions_R, &rows.lengths_R, &rows.counts_R})
    require(is_ids(*of_row, count) && is_ids(ids_R, count), op, "i32 ids [R] and states [R]", ids_R, *of_row);
  require(tokens_NR.dtype() == DType::i32 && tokens_NR.shape().ndim() == 2 && tokens_NR.shape().back() == count, op,
          "i32 tokens [N, R] of R ids", tokens_NR, ids_R);
  require(logprobs_NR.shape() == tokens_NR.shape() && logprobs_NR.dtype() == logprobs_R.dtype(), op,
          "log-probabilities [N, R] of their type", logprobs_NR, logprobs_R);
  require(logprobs_R.numel() == count && (logprobs_R.dtype() == DType::f32 || logprobs_R.dtype() == DType::f64), op,
          "f32 or f64 log-probabilities [R]", logprobs_R, ids_R);
  require(is_ids(step_1, 1), op, "an i32 step [1]", step_1);
  if (stop_ids_S.defined()) require(is_ids(stop_ids_S, stop_ids_S.numel()), op, "i32 stop ids", stop_ids_S);
}

HeadProduct per_head_product(std::string_view op, const Tensor& y, const Tensor& x, const Tensor& w,
                             std::int64_t num_heads, std::int64_t stride, std::int64_t first, std::int64_t count,
                             Transpose transpose) {
  const std::int64_t columns = w.shape().back();
  const HeadProduct product = transpose == Transpose::no ? HeadProduct{columns, count} : HeadProduct{count, columns};
  require(first >= 0 && count >= 0 && first + count <= stride && w.shape().flat_rows() == num_heads * stride, op,
          "a weight of H*stride rows with the slice inside", w, x);
  const auto sized = [&](const char* what, std::int64_t width) {
    return [=] { return std::string(what) + " of " + std::to_string(num_heads * width) + " columns"; };
  };
  require(x.shape().back() == num_heads * product.in, op, sized("an input", product.in), x, w);
  require(y.shape().flat_rows() == x.shape().flat_rows() && y.shape().back() == num_heads * product.out, op,
          sized("an output", product.out), y, x);
  require(x.dtype() == w.dtype() && y.dtype() == x.dtype(), op, "operands of one type", x, w);
  return product;
}

void require_routing(std::string_view op, const Tensor& scores_TE, const Tensor& expert_ids_TK,
                     const Tensor& weights_TK, const RouterArgs& args) {
  const std::int64_t tokens = scores_TE.shape().flat_rows();
  require(
      scores_TE.shape().back() == args.num_experts, op, [&] { return std::to_string(args.num_experts) + " experts"; },
      scores_TE);
  require(
      args.num_groups > 0 && args.num_experts % args.num_groups == 0 && args.num_limited_groups > 0 &&
          args.num_limited_groups <= args.num_groups && args.top_k > 0 &&
          args.top_k <= args.num_experts / args.num_groups * args.num_limited_groups,
      op,
      [&] {
        return "top_k " + std::to_string(args.top_k) + " to fit in " + std::to_string(args.num_limited_groups) +
               " of " + std::to_string(args.num_groups) + " equal groups";
      },
      scores_TE);
  require(expert_ids_TK.dtype() == DType::i32 && expert_ids_TK.shape().back() == args.top_k &&
              expert_ids_TK.shape().flat_rows() == tokens,
          op, "i32 ids [T, K]", expert_ids_TK, scores_TE);
  require(weights_TK.shape() == expert_ids_TK.shape() && weights_TK.dtype() == scores_TE.dtype(), op,
          "weights like the ids, of the scores' type", weights_TK, expert_ids_TK);
}

Unpermuted unpermuted(std::string_view op, const Tensor& y_TD, const Tensor& x_RD, const Tensor& row_of_TK,
                      const Tensor& weights_TK) {
  require(row_of_TK.dtype() == DType::i32 && row_of_TK.shape().ndim() == 2, op, "i32 rows [T, K]", row_of_TK);
  const Unpermuted u{row_of_TK.dim(0), row_of_TK.dim(1), x_RD.shape().flat_rows(), x_RD.shape().back()};
  require(y_TD.shape().back() == u.width && y_TD.shape().flat_rows() == u.tokens, op, "token rows like the choices",
          y_TD, row_of_TK);
  require(y_TD.dtype() == x_RD.dtype(), op, "rows of one type", y_TD, x_RD);
  if (weights_TK.defined())
    require(weights_TK.numel() == row_of_TK.numel() && weights_TK.dtype() == accumulation_dtype(x_RD.dtype()), op,
            "weights like the choices, of the accumulation type", weights_TK, row_of_TK);
  return u;
}

void require_loss_rows(std::string_view op, const Tensor& losses_T, const Tensor& loss_weights_T,
                       const Tensor& logits_TV, const Tensor& dlogits_TV) {
  const std::int64_t tokens = logits_TV.shape().flat_rows();
  const DType acc = accumulation_dtype(logits_TV.dtype());
  require(losses_T.numel() == tokens && losses_T.dtype() == acc, op, "one loss a token, of the accumulation type",
          losses_T, logits_TV);
  require(loss_weights_T.numel() == tokens && loss_weights_T.dtype() == acc, op,
          "one weight a token, of the accumulation type", loss_weights_T, logits_TV);
  if (dlogits_TV.defined())
    require(dlogits_TV.numel() == logits_TV.numel() && dlogits_TV.dtype() == logits_TV.dtype(), op,
            "a gradient like the logits", dlogits_TV, logits_TV);
}

void require_adamw(std::string_view op, const Tensor& weight, const Tensor& master, const Tensor& m, const Tensor& v,
                   const Tensor& grad, const AdamWArgs& args) {
  const std::int64_t count = master.numel();
  require(grad.numel() == count && grad.dtype() == master.dtype(), op, "a gradient like the master weights", grad,
          master);
  require(m.numel() == count && v.numel() == count && m.dtype() == v.dtype() &&
              (m.dtype() == master.dtype() || m.dtype() == DType::bf16),
          op, "moments like the master weights, or bf16", m, v);
  require(!weight.defined() || weight.numel() == count, op, "a weight for every master weight", weight, master);
  require(args.step >= 1, op, "a step from 1 on", master);
}

}  // namespace athanor
