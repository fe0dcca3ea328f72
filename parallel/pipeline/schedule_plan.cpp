#include "parallel/pipeline/schedule_plan.hpp"

#include <fmt/format.h>

#include <fstream>
#include <sstream>

#include "parallel/pipeline/make_schedules.hpp"
#include "parallel/pipeline/validate.hpp"
#include "src/base/error.hpp"

namespace athanor {

PipelineSchedule SchedulePlan::make(int pp, int micro_batches) const {
  if (!given) return make_schedule(name, pp, micro_batches, virtual_chunks);
  if (given->num_ranks != pp)
    throw ConfigError(fmt::format("parallel.schedule_file: schedule {} is made for {} ranks; set parallel.pp = {}",
                                  given->name, given->num_ranks, given->num_ranks));
  if (given->num_micro_batches != micro_batches)
    throw ConfigError(
        fmt::format("parallel.schedule_file: schedule {} is made for {} micro-batches, a step has {}; choose "
                    "data.batch_sequences and data.micro_batch_sequences so that each data rank has {}",
                    given->name, given->num_micro_batches, micro_batches, given->num_micro_batches));
  return *given;
}

std::vector<int> SchedulePlan::chunk_rank(int pp) const {
  if (given) return make(pp, given->num_micro_batches).chunk_rank;
  return make_schedule(name, pp, 4 * pp, virtual_chunks).chunk_rank;
}

SchedulePlan schedule_plan(const std::string& name, int virtual_chunks, const std::string& file) {
  SchedulePlan plan{name, virtual_chunks};
  if (file.empty()) return plan;
  std::ifstream in(file);
  if (!in) throw ConfigError("parallel.schedule_file: cannot read " + file);
  std::ostringstream text;
  text << in.rdbuf();
  plan.given = parse_schedule(text.str(), file);
  validate(*plan.given);
  return plan;
}

}  // namespace athanor
