#include "jobs/layout_question.hpp"

#include "jobs/trained_model.hpp"

namespace athanor {

PlanQuestion layout_question(const JobOptions& options, std::int64_t ranks) {
  const ParallelOptions& parallel = options.parallel;
  PlanQuestion question;
  question.model = options.model;
  question.dtype = options.run.dtype;
  question.adamw = options.optimizer.adamw;
  question.shape = {.pp = parallel.pp, .dp = parallel.dp, .cp = parallel.cp, .tp = parallel.tp, .ep = parallel.ep};
  question.ranks = ranks;
  if (parallel.ranks_per_node > 0) question.node.ranks_per_node = parallel.ranks_per_node;
  question.schedule = schedule_of(parallel);
  question.layer_split = parse_layer_split(parallel.layer_split);
  question.recompute = parallel.recompute;
  question.sequence_length = options.data.sequence_length;
  question.batch_sequences = options.data.batch_sequences;
  question.micro_batch_sequences = options.data.micro_batch_sequences;
  return question;
}

}  // namespace athanor
