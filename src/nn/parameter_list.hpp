// The parameters of a layer made of layers: those of its parts, in order.
#pragma once

#include <optional>
#include <vector>

#include "src/nn/parameter.hpp"

namespace athanor {

template <class L>
void append_parameters(std::vector<Parameter*>& list, L& layer) {
  for (Parameter* parameter : layer.parameters()) list.push_back(parameter);
}
template <class L>
void append_parameters(std::vector<Parameter*>& list, std::optional<L>& layer) {
  if (layer) append_parameters(list, *layer);
}

/// Parameters of the given layers in the order given; an empty optional has none.
template <class... Layers>
std::vector<Parameter*> parameters_of(Layers&... layers) {
  std::vector<Parameter*> list;
  (append_parameters(list, layers), ...);
  return list;
}

}  // namespace athanor
