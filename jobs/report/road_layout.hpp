// Where the boxes of a recipe stand and how the lines between them run: a layered drawing from left to right.
// Laws: pure; a line leaves a box on its right and enters on its left, crosses a column of boxes only in a lane of its
// own, and what one box gives in one way to several runs together as far as it can.
// Method: layers by the longest path, order by barycentres and exchanges of neighbours (Sugiyama, Tagawa, Toda 1981),
// heights by least squares under the order (pool adjacent violators).
#pragma once

#include <cstddef>
#include <vector>

namespace athanor {

struct RoadBox {
  double above = 0.0, below = 0.0;  ///< room above and below the height at which lines meet it
};

struct RoadLine {
  std::size_t from = 0, to = 0;  ///< boxes; from comes before to
  int kind = 0;
};

struct RoadPlace {
  std::size_t layer = 0;
  double y = 0.0;  ///< of the height at which lines meet the box; the drawing begins at 0
};

/// A straight or bent piece between neighbouring layers, or a lane straight through one.
struct RoadPiece {
  std::size_t layer = 0;  ///< it begins on the right side of this layer; a lane lies in it
  double from_y = 0.0, to_y = 0.0;
  int kind = 0;
  bool lane = false;
  bool enters = false;  ///< it ends at a box
};

struct RoadPlan {
  std::vector<RoadPlace> boxes;
  std::vector<RoadPiece> pieces;
  std::size_t layers = 0;
  double height = 0.0;
};

RoadPlan lay_out_road(const std::vector<RoadBox>& boxes, const std::vector<RoadLine>& lines);

}  // namespace athanor
