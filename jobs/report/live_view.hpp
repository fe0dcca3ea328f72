// A running job in the lines of a terminal. Law: pure; the same record at the same time gives the same lines, none of
// more signs than `width`.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "jobs/report/live_record.hpp"

namespace athanor {

struct LiveLook {
  double now = 0.0;  ///< unix seconds
  std::size_t width = 80;
  bool job_may_live = true;  ///< false: it says that it runs, but its process is gone
  bool colours = true;
};

/// Road, stage under way, its numbers with curves, time left, checkpoint, warnings: for a terminal, drawn again and
/// again.
std::vector<std::string> live_view(const LiveRecord& record, const LiveLook& look);

/// The same in one line: "tuned step 120/400 loss 1.234 12.3k tokens/s 4:05 left, checkpoint step_00000100".
std::string live_line(const LiveRecord& record, const LiveLook& look);

/// Seconds until the stage's last step at the pace of its last ones; negative: not known.
double seconds_left(const LiveRecord& record, double now);

/// "▁▂▅█": the means of `width` equal stretches of points, from the lowest to the highest.
std::string sparkline(const std::vector<ChartPoint>& points, std::size_t width);

}  // namespace athanor
