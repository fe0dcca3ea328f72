// Names, units and help of the sections [run], [data], [parallel] and of a stage's own keys.
#include "io/options/job_options.hpp"

namespace athanor {

void describe_sampler(OptionTable& table, SamplingArgs& sampler, const std::string& temperature_help) {
  table.add("temperature", sampler.temperature, "number", temperature_help);
  table.add("top_p", sampler.top_p, "fraction", "sample from the likeliest tokens of this mass", kFraction);
  table.add("min_p", sampler.min_p, "fraction", "leave out tokens below this share of the likeliest", kFraction);
  table.add("top_k", sampler.top_k, "tokens", "sample from so many; 0: all");
}

void describe(OptionTable& table, RunOptions& run) {
  table.section("run", "[run] where, on what and for how long");
  table.add("folder", run.folder, "folder",
            "everything the run writes; empty: runs/NAME, named as the last configuration file. Holds a run already: "
            "the run goes on where it stopped");
  table.add("start_over", run.start_over,
            "do not go on with the run that is in the folder: it is moved aside to FOLDER.1, FOLDER.2, ... "
            "Leave it out to go on after a stop");
  table.add(
      "device", run.device, "cpu|cpu-guarded|cuda|cuda:N",
      "where tensors live; cpu-guarded checks that host code leaves them alone; cuda: the ranks of a machine take "
      "its GPUs in turn, cuda:N is one of them");
  table.add("dtype", run.dtype,
            "type of weights and activations in matrix products; sums are kept in f32 (f64 in f64)");
  table.add_choice("numerics", run.numerics, {{"batch_invariant", Numerics::batch_invariant}, {"fast", Numerics::fast}},
                   "batch_invariant: a token's log-probability is the same number in generation as in training, "
                   "whatever runs beside it; MLA then caches the keys and values of all heads. fast: MLA caches "
                   "latents (fewest numbers a token)");
  table.add("seed", run.seed, "number", "of weights, data order and sampling");
  table.add("threads", run.threads, "threads",
            "OpenMP threads of a rank; 0: OMP_NUM_THREADS, else cores by ranks of the node");
  table.add("steps", run.steps, "steps", "optimizer steps of a training stage");
  table.add("time_limit", run.time_limit,
            "stop so much after the start, with a checkpoint and exit status 75; 0: none");
  table.add(
      "batch_limit", run.batch_limit,
      "stop likewise before the end of the Slurm job, early enough for a step and a save as long as those measured");
  table.add("save_every", run.save_every, "steps", "between checkpoints; 0: only when the stage ends or is stopped");
  table.add("keep_last", run.keep_last, "checkpoints", "kept; older ones are deleted", kPositive);
  table.add("eval_every", run.eval_every, "steps", "between measurements on the held-out data; 0: only at the end");
  table.add("log_every", run.log_every, "steps", "between lines of a batch log (a terminal shows every step)",
            kPositive);
  table.add("straggler_factor", run.straggler_factor, "times",
            "the median of all ranks' own time a step (waiting left out): a rank above it is named; 0: none is");
  table.add("trace_step", run.trace_step, "N|N-M",
            "record what every rank does in this step of each training stage, or in these: STAGE/traces/step_N.json, "
            "for chrome://tracing and ui.perfetto.dev. On a GPU the trace takes times in the streams, which slows the "
            "step; empty: none");
  table.add(
      "tensorboard", run.tensorboard,
      "write metrics and completions also as TensorBoard's event files, for `tensorboard --logdir FOLDER/tensorboard`");
}

void describe(OptionTable& table, DataOptions& data) {
  table.section("data", "[data] what is read and how a batch is cut");
  table.add("train", data.train, "source",
            "training text: FILE (.txt, .jsonl, .jsonl.gz, or .h5 from `prepare`), generated:tales or "
            "generated:tasks(TASK, ...) (see src/task/README.md); `FILE @ WEIGHT` "
            "weighs it against the others. May be repeated");
  table.add("held_out", data.held_out, "source", "text for evaluation, never trained on. May be repeated");
  table.add("held_out_fraction", data.held_out_fraction, "fraction",
            "of the training text set aside for evaluation where no held_out is given", kFraction);
  table.add(
      "tokenizer", data.tokenizer, "byte|bpe:N|FILE",
      "byte: one token a byte; bpe:N: at most N tokens learned from the first stage's data.train, kept as the run's "
      "tokenizer.json; else a file made by `athanor tokenizer train`");
  table.add("text_field", data.text_field, "name", "of the text in a line of .jsonl");
  table.add("sequence_length", data.sequence_length, "tokens", "in a row of the batch", kPositive);
  table.add("batch_sequences", data.batch_sequences, "sequences", "in a step, over all ranks", kPositive);
  table.add("micro_batch_sequences", data.micro_batch_sequences, "sequences",
            "a rank runs at once (rows, in fine-tuning); 0: all of its share of the batch");
  table.add("isolate_documents", data.isolate_documents, "tokens attend within their own document only");
  table.add("fim_rate", data.fim_rate, "fraction", "of documents turned into prefix, suffix, middle", kFraction);
}

void describe(OptionTable& table, ParallelOptions& parallel) {
  table.section("parallel", "[parallel] how the ranks are shared out");
  table.add("pp", parallel.pp, "ranks", "pipeline: consecutive layers", kPositive);
  table.add("dp", parallel.dp, "ranks", "data: parts of the batch; 0: all that the other axes leave");
  table.add("cp", parallel.cp, "ranks", "context: parts of a sequence", kPositive);
  table.add("tp", parallel.tp, "ranks", "tensor: parts of a matrix", kPositive);
  table.add("ep", parallel.ep, "ranks", "experts: parts of the routed experts; divides dp*cp*tp", kPositive);
  table.add("schedule", parallel.schedule, "gpipe|1f1b|interleaved|zb1|dualpipev",
            "order of the work of a pipeline (see `athanor schedule`)");
  table.add("virtual_chunks", parallel.virtual_chunks, "chunks",
            "of the model on each pipeline rank; 0: as the schedule has them");
  table.add("schedule_file", parallel.schedule_file, "FILE",
            "a schedule written by `athanor schedule --text` or by hand, in place of parallel.schedule");
  table.add("layer_split", parallel.layer_split, "N,N,...",
            "layers of every chunk of the pipeline; empty: as even as can be, an MTP module counted as a layer");
  table.add_choice("recompute", parallel.recompute,
                   {{"none", Recompute::none}, {"selective", Recompute::selective}, {"full", Recompute::full}},
                   "none: keep all activations for the backward; selective: compute queries, keys, values and inner "
                   "activations again; full: keep the inputs of blocks alone");
  table.add("ranks_per_node", parallel.ranks_per_node, "ranks",
            "that share a machine, for sending a token once to each; 0: by host names");
  table.add("check_collectives", parallel.check_collectives,
            "compare operation, type and shape over ranks before every collective: slow, for finding the rank astray");
  table.add_choice("transport", parallel.transport,
                   {{"auto", Transport::automatic},
                    {"nccl", Transport::nccl},
                    {"staged", Transport::staged},
                    {"mpi", Transport::mpi}},
                   "by what tensors travel between ranks: nccl from GPU to GPU, staged through host memory (several "
                   "ranks on a GPU), mpi from host memory; auto: nccl where every rank has a GPU, staged where ranks "
                   "share one, mpi on cpu. The start-up line says which");
  table.add("nccl_timeout", parallel.nccl_timeout, "seconds",
            "that a collective over NCCL may run before the job ends with what hangs where");
  table.add_choice("nccl_sums", parallel.nccl_sums, {{"rank_order", RankSums::rank_order}, {"nccl", RankSums::nccl}},
                   "rank_order: sums over ranks have the same bits as over mpi; nccl: NCCL's own order, which repeats "
                   "only with NCCL_ALGO and NCCL_PROTO set");
  table.add(
      "deadline_floor", parallel.deadlines.floor, "seconds",
      "a rank that stands still is never given less; ten times as much where ranks wait for files (data, loading, "
      "saving)");
  table.add("deadline_ceiling", parallel.deadlines.ceiling, "seconds",
            "nor more, likewise, and that until three waits of the kind were seen; 0: a rank may stand still for ever");
  table.add("deadline_factor", parallel.deadlines.factor, "times",
            "the longest wait of its kind seen so far: the deadline in between. Past it the ranks that did not arrive "
            "are named with where they are, and the job ends");
  table.add("fault", parallel.fault, "throw@...|kill@...|stop@...|hang@...|delay@...|nan@...",
            "break a rank on purpose, to rehearse how a job ends: throw@rank=1:axis=ep:step=3:call=2 throws (kill: "
            "dies, stop: SIGSTOP, hang: sleeps, delay: sleeps for seconds=S) there at its second call along ep in step "
            "3; kill@phase=rollout at its first call in a phase (data, loading, rollout, evaluation, saving, writing); "
            "nan@rank=1:step=3 spoils its loss");
}

void describe(OptionTable& table, RlOptions& rl) {
  table.section("rl", "[rl] reinforcement learning on problems whose answers a program checks");
  table.add("tasks", rl.tasks, "tasks",
            "where problems come from, with weights: \"arithmetic:level=2 @ 3, jsonl:FILE(format=gsm8k)\" "
            "(src/task/README.md)");
  table.add("rewards", rl.rewards, "rewards",
            "what a completion earns, with weights: \"accuracy, format @ 0.5, learned:STAGE(most=3) @ 0.2\": rules of "
            "src/reward/README.md, and reward models of this run (scale: a factor, most: scores are cut there)");
  table.add("prompts", rl.prompts, "TASKS -> REWARDS | weight N | from FRACTION",
            "several kinds of prompts with rewards of their own, in place of tasks and rewards; the first counts for "
            "pass@1. from: the fraction of the steps before which a kind is left out. May be repeated");
  table.add("prompt_template", rl.prompt_template, "r1_zero|tags|marks|lines|r1|v3|chatml|llama3",
            "how the model is asked: text templates of base models, or the chat layouts");
  table.add("prompts_per_rollout", rl.prompts_per_rollout, "prompts", "of all ranks, between two rollouts", kPositive);
  table.add("group_size", rl.group_size, "completions", "of each prompt", kPositive);
  table.add("updates_per_rollout", rl.updates_per_rollout, "steps", "optimizer steps that share one rollout",
            kPositive);
  table.add("max_new_tokens", rl.max_new_tokens, "tokens", "of a completion, at most", kPositive);
  table.add("length_stages", rl.length_stages, "STEP:TOKENS, ...",
            "shorter limits for the beginning: \"0:32, 100:64\" (none above max_new_tokens); empty: one limit");
  table.add("slots", rl.slots, "sequences", "that a rank generates at once", kPositive);
  table.add("page_tokens", rl.page_tokens, "tokens",
            "in a page of the key/value cache (16, 32, 64, ...): siblings share the whole pages of their prompt",
            kPositive);
  table.add(
      "cache_tokens", rl.cache_tokens, "tokens",
      "that the key/value cache of a rank has pages for; where they run out the youngest sequence gives up its own "
      "and is computed again later, with the same completion; 0: all slots at full length");
  table.add("look_every", rl.look_every, "tokens",
            "of every sequence between two looks of the host at what has ended; what is written does not depend on it; "
            "0: 1 on a CPU, 16 on a GPU");
  describe_sampler(table, rl.sampler, "of the sampling, and of the softmax that is trained");
  table.add("objective", rl.objective, "grpo|dr_grpo|dapo|bnpo|gspo|cispo|rloo|reinforce++|ppo",
            "how rewards become an update; ppo has a critic");
  table.add("clip_low", rl.clip_low, "number", "the ratio of new to old probability is cut below 1 - this");
  table.add("clip_high", rl.clip_high, "number", "and above 1 + this (cispo: above this)");
  table.add("ratio_bound", rl.ratio_bound, "number", "largest ratio on bad completions, too; 0: none");
  table.add("kl_beta", rl.kl_beta, "number", "weight of the divergence from the reference model; 0: no reference");
  table.add_choice("kl_in", rl.kl_in, {{"loss", KlIn::loss}, {"reward", KlIn::reward}, {"token", KlIn::token}},
                   "loss: k3 of every token (GRPO); reward: the sum of k1 over a completion is taken off its reward "
                   "(RLOO); token: k1 is taken off at each token (ppo)");
  table.add("kl_target", rl.kl_target, "nats",
            "of a completion, which kl_beta is moved to hold (ppo); 0: kl_beta stays");
  table.add("kl_horizon", rl.kl_horizon, "completions", "over which kl_beta moves");
  table.add("critic", rl.critic, "stage|folder",
            "a reward model that the critic of ppo begins as; empty: the policy with a new head");
  table.add("critic_lr", rl.critic_lr, "rate", "of the critic's own optimizer");
  table.add("critic_warmup", rl.critic_warmup, "rollouts", "at first in which the critic alone learns");
  table.add("gamma", rl.gamma, "fraction", "by which a later reward counts less (ppo)", kFraction);
  table.add("gae_lambda", rl.gae_lambda, "fraction", "1: advantages of whole returns; 0: of one step (ppo)", kFraction);
  table.add("value_clip", rl.value_clip, "number", "a value moves at most so far in an update; 0: unbounded");
  table.add("ptx_weight", rl.ptx_weight, "number",
            "of next-token prediction on data.train beside the updates (InstructGPT's gamma: 27.8); 0: none");
  table.add("ptx_sequences", rl.ptx_sequences, "rows", "of that text a step, of rl.row_tokens tokens, over all ranks");
  table.add("reference_refresh", rl.reference_refresh, "steps",
            "after which the reference becomes the policy as it is; 0: never");
  table.add("mask_truncated", rl.mask_truncated, "completions that were cut short count for nothing");
  table.add("dynamic_sampling", rl.dynamic_sampling, "rounds",
            "at most, of further prompts in place of those whose completions all earn the same; 0: none");
  table.add("row_tokens", rl.row_tokens, "tokens",
            "of a row in which completions are packed for training; 0: data.sequence_length");
  table.add("rows_per_batch", rl.rows_per_batch, "rows", "of a micro-batch", kPositive);
  table.add("eval_problems", rl.eval_problems, "problems", "held out, never trained on", kPositive);
  table.add("eval_samples", rl.eval_samples, "completions", "of each", kPositive);
  table.add("samples_per_rollout", rl.samples_per_rollout, "completions", "written to samples.jsonl");
}

void describe(OptionTable& table, EvaluateOptions& evaluate) {
  table.section("evaluate", "[evaluate] problems for stages of kind evaluate; asked as [rl] says");
  table.add("benchmarks", evaluate.benchmarks, "tasks",
            "each measured by itself: \"arithmetic:level=4, jsonl:FILE(format=gsm8k, name=gsm8k)\"; empty: none");
  table.add("rewards", evaluate.rewards, "rewards",
            "whose means over the completions are told beside pass@1: \"format:layout=r1, learned:STAGE\"");
  table.add("problems", evaluate.problems, "problems",
            "of each benchmark; 0: all of a file, 256 of a generated task (its held-out ones)");
  table.add("samples", evaluate.samples, "completions", "of each problem", kPositive);
  describe_sampler(table, evaluate.sampler, "of the sampling; 0: the likeliest token");
  table.add("max_new_tokens", evaluate.max_new_tokens, "tokens", "of a completion, at most; 0: rl.max_new_tokens");
  table.add("samples_shown", evaluate.samples_shown, "completions", "of each benchmark written to samples.jsonl");
}

void describe(OptionTable& table, JobOptions& job) {
  describe(table, job.run);
  describe(table, job.data);
  describe(table, job.parallel);
  describe(table, job.model);
  describe(table, job.optimizer);
  describe(table, job.rl);
  describe(table, job.evaluate);
  describe(table, job.sft);
  describe(table, job.distill);
  describe(table, job.reward_model);
  describe(table, job.sampling);
}

void describe(OptionTable& table, StageOptions& stage) {
  table.section("", "[STAGE] keys of a stage's section, beside any of the shared ones (optimizer.lr = ...)");
  table.add("kind", stage.kind, "pretrain|sft|reward_model|rl|rejection_sampling|distill|evaluate",
            "what the stage does");
  table.add("init", stage.init, "STAGE|FOLDER",
            "weights to begin with: the last checkpoint of an earlier stage, or a checkpoint folder; empty: new ones");
}

}  // namespace athanor
