// Multi-token prediction against a slow reference: a dense transformer in plain loops on host doubles, one token at a
// time, written from the formulas without any part of the library.
#include <gtest/gtest.h>

#include <cmath>
#include <map>

#include "src/model/transformer.hpp"
#include "tests/src/model/toy_models.hpp"

namespace athanor {
namespace {

using testing::ModelBench;
using Vector = std::vector<double>;
using States = std::vector<Vector>;  // one vector a position

/// One sequence through a model of the toy_qwen3 kind (tied head, head norms, rotate-half) with MTP modules.
class SlowModel {
 public:
  SlowModel(const ModelConfig& config, std::map<std::string, Vector> weights) : c_(config), w_(std::move(weights)) {}

  Vector embed(std::int32_t token) const { return slice(w_.at("embedding.weight"), token, c_.dim); }
  States final_norm(const States& x, const std::string& name) const {
    States y;
    for (const Vector& row : x) y.push_back(norm(row, w_.at(name)));
    return y;
  }
  /// -log p(target) after the shared head.
  double loss(const Vector& h, std::int32_t target) const {
    const Vector logits = multiply(w_.at("embedding.weight"), h);
    double total = 0.0;
    for (const double logit : logits) total += std::exp(logit);
    return std::log(total) - logits[static_cast<std::size_t>(target)];
  }
  States block(const std::string& prefix, const States& x) const {
    const States attended = attention(prefix, x);
    States y;
    for (std::size_t t = 0; t < x.size(); ++t) {
      const Vector h = sum(x[t], attended[t]);
      const Vector n = norm(h, w_.at(prefix + ".ffn_norm.weight"));
      Vector gate = multiply(w_.at(prefix + ".ffn.w_gate"), n);
      const Vector up = multiply(w_.at(prefix + ".ffn.w_up"), n);
      for (std::size_t f = 0; f < gate.size(); ++f) gate[f] *= up[f] / (1.0 + std::exp(-gate[f]));
      y.push_back(sum(h, multiply(w_.at(prefix + ".ffn.w_down"), gate)));
    }
    return y;
  }
  /// Input of module k's block at one position: eh_proj [norm(embedding) | norm(hidden)].
  Vector join(const std::string& prefix, const Vector& embedding, const Vector& hidden) const {
    Vector joined = norm(embedding, w_.at(prefix + ".embedding_norm.weight"));
    const Vector second = norm(hidden, w_.at(prefix + ".hidden_norm.weight"));
    joined.insert(joined.end(), second.begin(), second.end());
    return multiply(w_.at(prefix + ".eh_proj"), joined);
  }

 private:
  static Vector slice(const Vector& v, std::int64_t index, std::int64_t width) {
    return Vector(v.begin() + index * width, v.begin() + (index + 1) * width);
  }
  static Vector sum(Vector a, const Vector& b) {
    for (std::size_t i = 0; i < a.size(); ++i) a[i] += b[i];
    return a;
  }
  static Vector multiply(const Vector& matrix, const Vector& x) {
    Vector y(matrix.size() / x.size(), 0.0);
    for (std::size_t o = 0; o < y.size(); ++o)
      for (std::size_t i = 0; i < x.size(); ++i) y[o] += matrix[o * x.size() + i] * x[i];
    return y;
  }
  Vector norm(Vector x, const Vector& weight) const {
    double square = 0.0;
    for (const double value : x) square += value * value;
    const double rstd = 1.0 / std::sqrt(square / static_cast<double>(x.size()) + c_.norm_eps);
    for (std::size_t i = 0; i < x.size(); ++i) x[i] *= rstd * weight[i];
    return x;
  }
  Vector rotate(const Vector& head, std::size_t position) const {
    Vector y = head;
    const std::size_t half = head.size() / 2;
    for (std::size_t i = 0; i < half; ++i) {
      const double angle =
          static_cast<double>(position) * std::pow(c_.rope.theta, -static_cast<double>(i) / static_cast<double>(half));
      y[i] = head[i] * std::cos(angle) - head[i + half] * std::sin(angle);
      y[i + half] = head[i + half] * std::cos(angle) + head[i] * std::sin(angle);
    }
    return y;
  }
  States attention(const std::string& prefix, const States& x) const {
    const std::int64_t group = c_.num_heads / c_.num_kv_heads;
    States q, k, v, out;
    for (const Vector& row : x) {
      const Vector n = norm(row, w_.at(prefix + ".attention_norm.weight"));
      q.push_back(multiply(w_.at(prefix + ".attention.w_q"), n));
      k.push_back(multiply(w_.at(prefix + ".attention.w_k"), n));
      v.push_back(multiply(w_.at(prefix + ".attention.w_v"), n));
    }
    const auto head = [&](const States& rows, std::size_t t, std::int64_t h, const char* norm_name) {
      return rotate(norm(slice(rows[t], h, c_.head_dim), w_.at(prefix + norm_name)), t);
    };
    for (std::size_t t = 0; t < x.size(); ++t) {
      Vector o;
      for (std::int64_t h = 0; h < c_.num_heads; ++h) {
        const Vector query = head(q, t, h, ".attention.q_norm.weight");
        Vector mixed(static_cast<std::size_t>(c_.head_dim), 0.0);
        double total = 0.0;
        for (std::size_t s = 0; s <= t; ++s) {
          const Vector key = head(k, s, h / group, ".attention.k_norm.weight");
          double score = 0.0;
          for (std::size_t i = 0; i < key.size(); ++i) score += query[i] * key[i];
          const double p = std::exp(score / std::sqrt(static_cast<double>(c_.head_dim)));
          const Vector value = slice(v[s], h / group, c_.head_dim);
          for (std::size_t i = 0; i < value.size(); ++i) mixed[i] += p * value[i];
          total += p;
        }
        for (const double value : mixed) o.push_back(value / total);
      }
      out.push_back(multiply(w_.at(prefix + ".attention.w_o"), o));
    }
    return out;
  }

  ModelConfig c_;
  std::map<std::string, Vector> w_;
};

// Promises: main and MTP losses of depth 2 are the formulas of the report: module k feeds on the state after the
// previous final norm and the embedding of t_{i+k}, embedding first, predicts t_{i+k+1} over positions that have one,
// and its loss weighs lambda/D. The reference runs module k on positions 1..T-k only; the library runs all and weighs
// the rest 0.
TEST(MtpTest, EqualsTheSlowReference) {
  ModelConfig config = testing::toy_qwen3();
  config.mtp_depth = 2;
  ModelBench bench(config);
  const testing::ToyBatchOptions options{
      .num_sequences = 2, .tokens_per_sequence = 7, .vocab_size = config.vocab_size, .mtp_weight = 0.3};
  const MicroBatch batch = bench.batch(options);
  ExecContext ctx = bench.training(batch);
  bench.model().forward(ctx, 0, {});
  const std::vector<double> losses = bench.losses();

  std::map<std::string, Vector> weights;
  for (const Parameter* p : bench.store().parameters()) weights[p->name()] = bench.values(p->weight);
  const SlowModel slow(config, weights);
  const std::vector<std::int32_t> tokens = testing::make_toy_tokens(options).tokens;
  double main_loss = 0.0, mtp_loss = 0.0;
  for (std::size_t row = 0; row < 2; ++row) {
    const std::vector<std::int32_t> t(tokens.begin() + static_cast<std::ptrdiff_t>(row * 7),
                                      tokens.begin() + static_cast<std::ptrdiff_t>(row * 7 + 7));
    States h;
    for (const std::int32_t token : t) h.push_back(slow.embed(token));
    for (int layer = 0; layer < 2; ++layer) h = slow.block("layers." + std::to_string(layer), h);
    h = slow.final_norm(h, "final_norm.weight");
    for (std::size_t i = 0; i + 1 < t.size(); ++i) main_loss += slow.loss(h[i], t[i + 1]) / 12.0;
    for (std::size_t k = 1; k <= 2; ++k) {
      const std::string prefix = "mtp." + std::to_string(k - 1);
      States x;
      for (std::size_t i = 0; i + k < t.size(); ++i) x.push_back(slow.join(prefix, slow.embed(t[i + k]), h[i]));
      h = slow.final_norm(slow.block(prefix + ".block", x), prefix + ".final_norm.weight");
      for (std::size_t i = 0; i + k + 1 < t.size(); ++i) mtp_loss += 0.3 / 2.0 * slow.loss(h[i], t[i + k + 1]) / 12.0;
    }
  }
  EXPECT_NEAR(losses[0], main_loss, 1e-12);
  EXPECT_NEAR(losses[1], mtp_loss, 1e-12);
  EXPECT_GT(mtp_loss, 0.1);
}

}  // namespace
}  // namespace athanor
