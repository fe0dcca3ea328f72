// Names, units and help of the sections [run], [data], [parallel] and of a stage's own keys.
#include "io/options/job_options.hpp"

namespace athanor {

void describe(OptionTable& table, RunOptions& run) {
  table.section("run", "[run] where, on what and for how long");
  table.add("folder", run.folder, "folder",
            "everything the run writes; empty: runs/NAME, named as the last configuration file. Holds a run already: "
            "the run goes on where it stopped");
  table.add("start_over", run.start_over,
            "do not go on with the run that is in the folder: it is moved aside to FOLDER.1, FOLDER.2, ... "
            "Leave it out to go on after a stop");
  table.add("device", run.device, "cpu|cpu-guarded|cuda",
            "where tensors live; cpu-guarded checks that host code leaves them alone");
  table.add("dtype", run.dtype,
            "type of weights and activations in matrix products; sums are kept in f32 (f64 in f64)");
  table.add("seed", run.seed, "number", "of weights, data order and sampling");
  table.add("threads", run.threads, "threads",
            "OpenMP threads of a rank; 0: OMP_NUM_THREADS, else cores by ranks of the node");
  table.add("steps", run.steps, "steps", "optimizer steps of a training stage");
  table.add("time_limit", run.time_limit,
            "stop so much after the start, with a checkpoint and exit status 75; 0: none");
  table.add("save_every", run.save_every, "steps", "between checkpoints; 0: only when the stage ends or is stopped");
  table.add("keep_last", run.keep_last, "checkpoints", "kept; older ones are deleted", kPositive);
  table.add("eval_every", run.eval_every, "steps", "between measurements on the held-out data; 0: only at the end");
  table.add("log_every", run.log_every, "steps", "between lines of a batch log (a terminal shows every step)",
            kPositive);
}

void describe(OptionTable& table, DataOptions& data) {
  table.section("data", "[data] what is read and how a batch is cut");
  table.add("train", data.train, "source",
            "training text: FILE (.txt, .jsonl, .jsonl.gz, or .h5 from `prepare`) or generated:tales; `FILE @ WEIGHT` "
            "weighs it against the others. May be repeated");
  table.add("held_out", data.held_out, "source", "text for evaluation, never trained on. May be repeated");
  table.add("held_out_fraction", data.held_out_fraction, "fraction",
            "of the training text set aside for evaluation where no held_out is given", kFraction);
  table.add("tokenizer", data.tokenizer, "byte|FILE",
            "byte: one token a byte; else a file made by `athanor tokenizer train`");
  table.add("text_field", data.text_field, "name", "of the text in a line of .jsonl");
  table.add("sequence_length", data.sequence_length, "tokens", "in a row of the batch", kPositive);
  table.add("batch_sequences", data.batch_sequences, "sequences", "in a step, over all ranks", kPositive);
  table.add("micro_batch_sequences", data.micro_batch_sequences, "sequences",
            "a rank runs at once; 0: all of its share of the batch");
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
}

void describe(OptionTable& table, JobOptions& job) {
  describe(table, job.run);
  describe(table, job.data);
  describe(table, job.parallel);
  describe(table, job.model);
  describe(table, job.optimizer);
}

void describe(OptionTable& table, StageOptions& stage) {
  table.section("", "[STAGE] keys of a stage's section, beside any of the shared ones (optimizer.lr = ...)");
  table.add("kind", stage.kind, "pretrain|evaluate", "what the stage does");
  table.add("init", stage.init, "STAGE|FOLDER",
            "weights to begin with: the last checkpoint of an earlier stage, or a checkpoint folder; empty: new ones");
}

}  // namespace athanor
