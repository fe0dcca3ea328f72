// Generators of published pipeline schedules. Law: a generator only orders actions; that the order is complete and
// cannot deadlock is validate()'s to prove. p ranks, m micro-batches, v chunks a rank, R ranks of a V.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "parallel/pipeline/schedule.hpp"

namespace athanor {

/// All forwards, then all backwards. Idle (p-1)(F+B); m activations in flight. Huang et al. 2019, arXiv 1811.06965.
PipelineSchedule make_gpipe(int pp, int micro_batches);

/// p-r-1 forwards of warm-up on rank r, then one forward and one backward in turn. Idle (p-1)(F+B); p-r activations in
/// flight. PipeDream-Flush, Narayanan et al. 2021, arXiv 2104.04473.
PipelineSchedule make_1f1b(int pp, int micro_batches);

/// 1F1B over v chunks a rank: chunk c on rank c mod p. Micro-batches go in groups of `group_size` (0: p) through one
/// chunk, then through the next. Idle (p-1)(F+B)/v of a chunk's time where p divides m. arXiv 2104.04473 section 2.2;
/// Megatron-LM schedules.py. A last group that is shorter than the pipeline would deadlock: it is shared out over the
/// others, which the order then waits for longer.
PipelineSchedule make_interleaved(int pp, int micro_batches, int virtual_chunks, int group_size = 0);

/// ZB-H1: 1F1B with W put off by r slots on rank r, so that it fills the end. Idle (p-1)(F+I-W); at most p activations
/// in flight on every rank. Qi et al. 2023, arXiv 2401.10241.
PipelineSchedule make_zb1(int pp, int micro_batches);

/// DualPipeV: 2R chunks in a V, rank r owns r and 2R-1-r; forwards of one half overlap backwards of the other. Idle
/// (R-1)(FB+B-3W); 2R+1 activations in flight. DeepSeek-V3 report section 3.2.1; deepseek-ai/DualPipe dualpipev.py.
PipelineSchedule make_dualpipev(int pp, int micro_batches);

/// gpipe, 1f1b, interleaved, zb1, dualpipev.
const std::vector<std::string>& schedule_names();

/// The schedule of that name. @param virtual_chunks  chunks a rank: free for interleaved, else what the schedule has
/// (0: that, or 2 for interleaved).
/// @throws ConfigError listing the names, or the values that would do.
PipelineSchedule make_schedule(std::string_view name, int pp, int micro_batches, int virtual_chunks = 0);

}  // namespace athanor
