#include "jobs/report/road_layout.hpp"

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <tuple>

namespace athanor {
namespace {

constexpr double kBoxGap = 20.0, kLaneGap = 11.0, kPortGap = 11.0;

struct Node {
  std::size_t layer = 0;
  double above = 0.0, below = 0.0, y = 0.0;
  bool box = true;
};

struct Segment {
  std::size_t from = 0, to = 0;  ///< nodes of neighbouring layers
  int kind = 0;
};

/// Boxes and the lanes of lines that pass layers.
struct Graph {
  std::vector<Node> nodes;
  std::vector<Segment> segments;
  std::vector<std::vector<std::size_t>> layers;  ///< nodes from top to bottom
};

/// The longest path to each box, none before its floor.
std::vector<std::size_t> longest_paths(std::vector<std::size_t> layer, const std::vector<RoadLine>& lines) {
  for (std::size_t box = 0; box < layer.size(); ++box)
    for (const RoadLine& line : lines)
      if (line.to == box) layer[box] = std::max(layer[box], layer[line.from] + 1);
  return layer;
}

/// The longest path to each box; where it makes the lines shorter, and the drawing no wider, a box and what follows it
/// stand later.
std::vector<std::size_t> layers_of(std::size_t boxes, const std::vector<RoadLine>& lines) {
  std::vector<std::size_t> floors(boxes, 0), best = longest_paths(floors, lines);
  const auto length = [&](const std::vector<std::size_t>& layer) {
    std::size_t sum = 0;
    for (const RoadLine& line : lines) sum += layer[line.to] - layer[line.from];
    return sum;
  };
  const std::size_t last = *std::max_element(best.begin(), best.end());
  for (std::size_t box = boxes; box-- > 0;)
    for (std::size_t later = best[box] + 1; later <= last; ++later) {
      std::vector<std::size_t> tried = floors;
      tried[box] = later;
      const std::vector<std::size_t> layer = longest_paths(tried, lines);
      if (*std::max_element(layer.begin(), layer.end()) > last || length(layer) >= length(best)) continue;
      floors = tried;
      best = layer;
    }
  return best;
}

Graph graph_of(const std::vector<RoadBox>& boxes, const std::vector<RoadLine>& lines) {
  Graph graph;
  const std::vector<std::size_t> layer = layers_of(boxes.size(), lines);
  for (std::size_t b = 0; b < boxes.size(); ++b) graph.nodes.push_back({layer[b], boxes[b].above, boxes[b].below});
  std::map<std::tuple<std::size_t, int, std::size_t>, std::size_t> lanes;  // by box, kind and layer
  for (const RoadLine& line : lines) {
    std::size_t at = line.from;
    for (std::size_t between = layer[line.from] + 1; between < layer[line.to]; ++between) {
      const auto [lane, is_new] = lanes.try_emplace({line.from, line.kind, between}, graph.nodes.size());
      if (is_new) {
        graph.nodes.push_back({.layer = between, .box = false});
        graph.segments.push_back({at, lane->second, line.kind});
      }
      at = lane->second;
    }
    graph.segments.push_back({at, line.to, line.kind});
  }
  for (std::size_t n = 0; n < graph.nodes.size(); ++n) {
    graph.layers.resize(std::max(graph.layers.size(), graph.nodes[n].layer + 1));
    graph.layers[graph.nodes[n].layer].push_back(n);
  }
  return graph;
}

std::vector<std::size_t> ranks_of(const Graph& graph) {
  std::vector<std::size_t> rank(graph.nodes.size());
  for (const auto& layer : graph.layers)
    for (std::size_t i = 0; i < layer.size(); ++i) rank[layer[i]] = i;
  return rank;
}

std::size_t crossings(const Graph& graph) {
  const std::vector<std::size_t> rank = ranks_of(graph);
  std::size_t count = 0;
  for (std::size_t a = 0; a < graph.segments.size(); ++a)
    for (std::size_t b = a + 1; b < graph.segments.size(); ++b) {
      const Segment &one = graph.segments[a], &other = graph.segments[b];
      if (graph.nodes[one.from].layer != graph.nodes[other.from].layer) continue;
      const bool before = rank[one.from]<rank[other.from], after = rank[one.from]> rank[other.from];
      if ((before && rank[one.to] > rank[other.to]) || (after && rank[one.to] < rank[other.to])) ++count;
    }
  return count;
}

/// Sorts a layer by the mean place of its neighbours before (or after) it.
void sort_layer(Graph& graph, std::size_t layer, bool by_earlier) {
  const std::vector<std::size_t> rank = ranks_of(graph);
  std::map<std::size_t, double> mean;
  for (const std::size_t node : graph.layers[layer]) {
    double sum = 0.0, count = 0.0;
    for (const Segment& segment : graph.segments)
      if ((by_earlier ? segment.to : segment.from) == node) {
        sum += static_cast<double>(rank[by_earlier ? segment.from : segment.to]);
        count += 1.0;
      }
    mean[node] = count > 0.0 ? sum / count : static_cast<double>(rank[node]);
  }
  std::stable_sort(graph.layers[layer].begin(), graph.layers[layer].end(),
                   [&](std::size_t a, std::size_t b) { return mean[a] < mean[b]; });
}

void exchange_neighbours(Graph& graph, std::size_t& fewest) {
  for (auto& layer : graph.layers)
    for (std::size_t i = 0; i + 1 < layer.size(); ++i) {
      std::swap(layer[i], layer[i + 1]);
      if (const std::size_t now = crossings(graph); now < fewest)
        fewest = now;
      else
        std::swap(layer[i], layer[i + 1]);
    }
}

void order(Graph& graph) {
  auto best = graph.layers;
  std::size_t fewest = crossings(graph);
  for (int sweep = 0; sweep < 12 && fewest > 0; ++sweep) {
    if (sweep % 2 == 0)
      for (std::size_t l = 1; l < graph.layers.size(); ++l) sort_layer(graph, l, true);
    else
      for (std::size_t l = graph.layers.size() - 1; l-- > 0;) sort_layer(graph, l, false);
    std::size_t now = crossings(graph);
    exchange_neighbours(graph, now);
    if (now < fewest) {
      fewest = now;
      best = graph.layers;
    }
  }
  graph.layers = best;
}

/// Gives a layer the heights nearest to the wanted ones that keep order and room. Lanes give way to boxes.
void settle(Graph& graph, const std::vector<std::size_t>& layer, const std::vector<double>& wanted) {
  struct Pool {
    double sum = 0.0, weight = 0.0;
    std::size_t nodes = 1;
    double mean() const { return sum / weight; }
  };
  std::vector<Pool> pools;
  std::vector<double> offset(layer.size(), 0.0);
  for (std::size_t i = 0; i < layer.size(); ++i) {
    const Node& here = graph.nodes[layer[i]];
    if (i > 0) {
      const Node& above = graph.nodes[layer[i - 1]];
      offset[i] = offset[i - 1] + above.below + here.above + (above.box && here.box ? kBoxGap : kLaneGap);
    }
    const double weight = here.box ? 50.0 : 1.0;
    pools.push_back({weight * (wanted[i] - offset[i]), weight});
    while (pools.size() > 1 && pools.back().mean() < pools[pools.size() - 2].mean()) {
      const Pool last = pools.back();
      pools.pop_back();
      pools.back().sum += last.sum;
      pools.back().weight += last.weight;
      pools.back().nodes += last.nodes;
    }
  }
  std::size_t i = 0;
  for (const Pool& pool : pools)
    for (std::size_t n = 0; n < pool.nodes; ++n, ++i) graph.nodes[layer[i]].y = pool.mean() + offset[i];
}

void find_heights(Graph& graph) {
  for (const auto& layer : graph.layers) settle(graph, layer, std::vector<double>(layer.size(), 0.0));
  for (int sweep = 0; sweep < 200; ++sweep)
    for (std::size_t l = 0; l < graph.layers.size(); ++l) {
      const auto& layer = graph.layers[sweep % 2 == 0 ? l : graph.layers.size() - 1 - l];
      std::vector<double> wanted;
      for (const std::size_t node : layer) {
        double sum = 0.0, weight = 0.0;
        for (const Segment& segment : graph.segments) {
          if (segment.from != node && segment.to != node) continue;
          const Node& other = graph.nodes[segment.from == node ? segment.to : segment.from];
          // Boxes stand by boxes, and lanes run straight.
          const bool both_lanes = !other.box && !graph.nodes[node].box, both_boxes = other.box && graph.nodes[node].box;
          const double pull = both_lanes ? 8.0 : both_boxes ? 20.0 : 1.0;
          sum += pull * other.y;
          weight += pull;
        }
        wanted.push_back(weight > 0.0 ? sum / weight : graph.nodes[node].y);
      }
      settle(graph, layer, wanted);
    }
  double top = INFINITY;
  for (const Node& node : graph.nodes) top = std::min(top, node.y - node.above);
  for (Node& node : graph.nodes) node.y -= top;
}

/// Lines that meet at a side of a box meet it below each other, in the order of where they come from (or go to).
/// @returns by segment the shift from the height of the node.
std::vector<double> ports(const Graph& graph, bool entering) {
  std::vector<double> shift(graph.segments.size(), 0.0);
  for (std::size_t n = 0; n < graph.nodes.size(); ++n) {
    if (!graph.nodes[n].box) continue;
    std::vector<std::size_t> met;
    for (std::size_t s = 0; s < graph.segments.size(); ++s)
      if ((entering ? graph.segments[s].to : graph.segments[s].from) == n) met.push_back(s);
    const auto far = [&](std::size_t s) {
      return graph.nodes[entering ? graph.segments[s].from : graph.segments[s].to].y;
    };
    std::vector<std::pair<double, int>> keys;  // leaving: a port a kind; entering: a port a line
    for (const std::size_t s : met) {
      if (!entering &&
          std::any_of(keys.begin(), keys.end(), [&](const auto& key) { return key.second == graph.segments[s].kind; }))
        continue;
      keys.emplace_back(far(s), entering ? static_cast<int>(s) : graph.segments[s].kind);
    }
    std::stable_sort(keys.begin(), keys.end());
    for (const std::size_t s : met)
      for (std::size_t k = 0; k < keys.size(); ++k)
        if (keys[k].second == (entering ? static_cast<int>(s) : graph.segments[s].kind))
          shift[s] = kPortGap * (static_cast<double>(k) - 0.5 * static_cast<double>(keys.size() - 1));
  }
  return shift;
}

}  // namespace

RoadPlan lay_out_road(const std::vector<RoadBox>& boxes, const std::vector<RoadLine>& lines) {
  RoadPlan plan;
  if (boxes.empty()) return plan;
  Graph graph = graph_of(boxes, lines);
  order(graph);
  find_heights(graph);
  plan.layers = graph.layers.size();
  for (std::size_t b = 0; b < boxes.size(); ++b) plan.boxes.push_back({graph.nodes[b].layer, graph.nodes[b].y});
  const std::vector<double> leaving = ports(graph, false), entering = ports(graph, true);
  std::map<std::size_t, int> lanes;
  for (std::size_t s = 0; s < graph.segments.size(); ++s) {
    const Segment& segment = graph.segments[s];
    const Node &from = graph.nodes[segment.from], &to = graph.nodes[segment.to];
    plan.pieces.push_back(
        {from.layer, from.y + leaving[s], to.y + entering[s], segment.kind, false, graph.nodes[segment.to].box});
    if (!to.box) lanes.emplace(segment.to, segment.kind);
  }
  for (const auto& [node, kind] : lanes)
    plan.pieces.push_back({graph.nodes[node].layer, graph.nodes[node].y, graph.nodes[node].y, kind, true, false});
  for (const Node& node : graph.nodes) plan.height = std::max(plan.height, node.y + node.below);
  return plan;
}

}  // namespace athanor
