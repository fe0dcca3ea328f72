// What a training job is told, as plain structs: the sections that all stages share and a stage may override, and a
// stage's own keys. The model, the optimizer and its schedules are described beside their code in src; what belongs to
// the job as a whole stands here. describe_job.cpp binds all of them to names.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "io/options/option_table.hpp"
#include "parallel/deadlines.hpp"
#include "parallel/transport_options.hpp"
#include "src/backend/backend.hpp"
#include "src/base/dtype.hpp"
#include "src/filter/readability.hpp"
#include "src/model/model_config.hpp"
#include "src/nn/decode_rows.hpp"
#include "src/nn/recompute.hpp"
#include "src/optim/optimizer_options.hpp"

namespace athanor {

/// Whether generation computes to the bits what training computes.
enum class Numerics : std::uint8_t { batch_invariant, fast };
inline CacheForm cache_form(Numerics numerics) {
  return numerics == Numerics::batch_invariant ? CacheForm::heads : CacheForm::latent;
}

/// [run]: where, for how long, on what.
struct RunOptions {
  std::string folder;  ///< empty: runs/NAME, NAME being that of the last configuration file
  bool start_over = false;
  std::string device = "cpu";
  DType dtype = DType::f32;
  Numerics numerics = Numerics::batch_invariant;
  std::uint64_t seed = 1;
  std::int64_t threads = 0;
  std::int64_t steps = 100;
  Duration time_limit;
  bool batch_limit = true;
  std::int64_t save_every = 100;
  std::int64_t keep_last = 3;
  std::int64_t eval_every = 0;
  std::int64_t log_every = 1;
  double straggler_factor = 1.5;
  std::string trace_step;
  bool tensorboard = false;
};

/// [data]: what is read and how a batch is cut.
struct DataOptions {
  std::vector<std::string> train;
  std::vector<std::string> held_out;
  double held_out_fraction = 0.0;
  std::string tokenizer = "byte";
  std::string text_field = "text";
  std::int64_t sequence_length = 256;
  std::int64_t batch_sequences = 16;
  std::int64_t micro_batch_sequences = 0;
  bool isolate_documents = false;
  double fim_rate = 0.0;
};

/// [parallel]: how the ranks are cut into axes. The product of pp, dp, cp and tp is the number of ranks.
struct ParallelOptions {
  std::int64_t pp = 1, dp = 0, cp = 1, tp = 1, ep = 1;
  std::string schedule = "1f1b";
  std::int64_t virtual_chunks = 0;
  std::string schedule_file;
  std::string layer_split;
  Recompute recompute = Recompute::none;
  std::int64_t ranks_per_node = 0;
  bool check_collectives = false;
  Transport transport = Transport::automatic;
  double nccl_timeout = 600.0;
  RankSums nccl_sums = RankSums::rank_order;
  DeadlineOptions deadlines{.ceiling = 1800.0};
  std::string fault;
};

/// Where the divergence from the reference enters an update.
enum class KlIn : std::uint8_t { loss, reward, token };

/// [rl]: reinforcement learning on prompts with verifiable answers.
struct RlOptions {
  std::string tasks = "arithmetic";
  std::string rewards = "accuracy";
  std::vector<std::string> prompts;
  std::string prompt_template = "tags";
  std::int64_t prompts_per_rollout = 32, group_size = 16, updates_per_rollout = 1;
  std::int64_t max_new_tokens = 128, slots = 512;
  std::int64_t page_tokens = 16, cache_tokens = 0, look_every = 0;
  std::string length_stages;
  SamplingArgs sampler;
  std::string objective = "grpo";
  double clip_low = 0.2, clip_high = 0.2, ratio_bound = 0.0, kl_beta = 0.0;
  KlIn kl_in = KlIn::loss;
  double kl_target = 0.0, kl_horizon = 10000.0;
  std::string critic;
  double critic_lr = 9e-6, gamma = 1.0, gae_lambda = 0.95, value_clip = 0.2;
  std::int64_t critic_warmup = 0;
  double ptx_weight = 0.0;
  std::int64_t ptx_sequences = 0;
  std::int64_t reference_refresh = 0;
  bool mask_truncated = false;
  std::int64_t dynamic_sampling = 0;
  std::int64_t row_tokens = 0, rows_per_batch = 16;
  std::int64_t eval_problems = 128, eval_samples = 16;
  std::int64_t samples_per_rollout = 4;
};

/// [evaluate]: problems that a stage of kind evaluate has a model solve. How it is asked, and in how many slots, says
/// [rl].
struct EvaluateOptions {
  std::string benchmarks, rewards;
  std::int64_t problems = 0, samples = 16;
  SamplingArgs sampler{.temperature = 0.6, .top_p = 0.95};
  std::int64_t max_new_tokens = 0;
  std::int64_t samples_shown = 8;
};

/// [sft]: conversations to learn from, for stages of kind sft and distill.
struct SftOptions {
  std::vector<std::string> data;
  std::string layout = "r1";
  std::string prompt_field = "prompt", completion_field;
  double epochs = 2.0, held_out_fraction = 0.0, max_bad_share = 0.01;
};

/// [distill]: a teacher beside the conversations, for stages of kind distill.
struct DistillOptions {
  std::string teacher;
  bool reverse = false;
  double temperature = 1.0, hard_weight = 0.5;
  double on_policy = 0.0;
  std::int64_t max_new_tokens = 128;
};

/// [reward_model]: a scalar head learns which answers are preferred.
struct RewardModelOptions {
  bool pointwise = false;
  std::string data, held_out;
  double held_out_fraction = 0.1, max_bad = 0.01;
  std::string prompt_template = "tags";
  bool reads_final = true;
  double epochs = 1.0;
  std::int64_t prompts_per_batch = 64;
  std::int64_t row_tokens = 0, rows_per_batch = 8;
  double centering = 0.0, margin = 0.0;
  bool centre_bias = true;
};

/// [sampling]: completions that a stage of kind rejection_sampling keeps. What is asked, and in how many slots, says
/// [rl].
struct RejectionSamplingOptions {
  std::int64_t problems = 1024, samples = 16, keep_per_problem = 4, problems_per_round = 64;
  SamplingArgs sampler;
  std::int64_t max_new_tokens = 0;
  ReadabilityOptions readability;
  bool rewrite_r1 = false;
  std::vector<std::string> mix;
  std::string decontaminate;
  std::int64_t ngram = 10;
};

/// What all stages share and each may override.
struct JobOptions {
  RunOptions run;
  DataOptions data;
  ParallelOptions parallel;
  ModelConfig model;
  OptimizerOptions optimizer;
  RlOptions rl;
  EvaluateOptions evaluate;
  SftOptions sft;
  DistillOptions distill;
  RewardModelOptions reward_model;
  RejectionSamplingOptions sampling;
};

/// A stage's own keys, written without a section: `[NAME]` `kind = pretrain`.
struct StageOptions {
  std::string kind;
  std::string init;
};

/// temperature, top_p, min_p and top_k of the table's section, or of a command. @param temperature_help  what it is
/// beside the sampling's.
void describe_sampler(OptionTable& table, SamplingArgs& sampler, const std::string& temperature_help);
void describe(OptionTable& table, RunOptions& run);
void describe(OptionTable& table, DataOptions& data);
void describe(OptionTable& table, ParallelOptions& parallel);
void describe(OptionTable& table, ModelConfig& model);
void describe(OptionTable& table, OptimizerOptions& optimizer);
void describe(OptionTable& table, RlOptions& rl);
void describe(OptionTable& table, EvaluateOptions& evaluate);
void describe(OptionTable& table, SftOptions& sft);
void describe(OptionTable& table, DistillOptions& distill);
void describe(OptionTable& table, RewardModelOptions& reward_model);
void describe(OptionTable& table, RejectionSamplingOptions& sampling);
void describe(OptionTable& table, JobOptions& job);
/// Rows without a section.
void describe(OptionTable& table, StageOptions& stage);

}  // namespace athanor
