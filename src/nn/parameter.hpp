// Parameters and their memory. Law: a layer owns Parameter objects (names, shapes, how to initialise); ParameterStore
// gives them memory, once: all weights of one type lie in one flat tensor and their gradients in another, in reverse
// order of registration (about the order in which backward finishes them), each parameter aligned to 64 elements. A
// bucket is a contiguous range of a group; its length is a multiple of the pad given, so that it splits into equal
// slices for ZeRO.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "src/backend/backend.hpp"
#include "src/backend/named_shard.hpp"
#include "src/base/shard_spec.hpp"

namespace athanor {

/// Which ranks add up the gradient of a parameter and share out its optimizer state.
enum class GradientGroup : std::uint8_t {
  cut,     ///< the ranks dp*cp that hold the same part of a tensor cut over tp
  whole,   ///< all ranks dp*cp*tp of a layer: the same on each, and each sees some of the tokens
  expert,  ///< edp: the ranks that hold the same experts
  shared,  ///< as cut, on the first and the last pipeline rank together (embedding and head used at both ends)
};

struct Parameter {
  enum class Init : std::uint8_t { normal, ones, zeros };

  ShardSpec spec;  ///< canonical name, type, whole shape and this rank's rectangle
  Init init = Init::normal;
  double init_std = 0.006;  ///< DeepSeek-V3 report section 4.2
  bool decay = true;        ///< false for norms, biases
  GradientGroup group = GradientGroup::whole;
  /// Where the rows (of dim 0) held here are no one range of the logical tensor: which each of the spec.extent[0] is.
  /// Experts placed by load, for inference only. Empty otherwise.
  std::vector<std::int64_t> placed_rows;
  Tensor weight;  ///< spec.extent of spec.dtype; a view of the store's flat weight
  Tensor grad;    ///< acc; a view of the store's flat grad. Accumulated by backward_weight

  const std::string& name() const { return spec.name; }
  /// The rectangles of the logical tensor that make up the weight, with their memory: one, or one a placed row. For
  /// initialisation and for reading checkpoints (is_writer is false).
  std::vector<NamedShard> shards() const;
};

/// A weight matrix, or a stack of them, drawn from N(0, init_std^2).
Parameter matrix_parameter(std::string name, DType dtype, const Shape& shape, double init_std);
/// Cuts a whole parameter down to these rows of its dim 0, in this order.
/// @throws Error when a row is out of range or there is none.
void hold_rows(Parameter& parameter, const std::vector<std::int64_t>& rows);
/// The weight of a norm: ones, without weight decay.
Parameter norm_parameter(std::string name, DType dtype, std::int64_t size);
/// A bias: zeros, without weight decay.
Parameter bias_parameter(std::string name, DType dtype, std::int64_t size);

/// State that is no parameter (router selection bias): saved and restored, never differentiated.
struct StateTensor {
  ShardSpec spec;
  Tensor tensor;
};

/// One flat pair of weights and gradients: parameters of one dtype and one reduction group.
struct ParameterGroup {
  struct Member {
    Parameter* parameter;
    std::int64_t begin, end;  ///< elements of the flat tensors
  };
  struct Bucket {
    std::int64_t begin, end;  ///< elements; end - begin is a multiple of the pad
  };
  DType dtype = DType::f32;
  GradientGroup group = GradientGroup::whole;
  Tensor weight, grad;  ///< 1-D of one length; grad acc, undefined when made for inference
  std::vector<Member> members;
  std::vector<Bucket> buckets;
};

class ParameterStore {
 public:
  struct Options {
    bool with_gradients = true;
    std::int64_t pad_elements = 64;  ///< bucket lengths are multiples (ranks of the data axis times 64)
    std::int64_t bucket_elements = std::int64_t{1} << 22;  ///< a bucket is closed once it holds this many
  };
  /// Gives every parameter its weight and grad; padding is zero. Contents otherwise unspecified until initialize or
  /// load.
  ParameterStore(Backend& ops, std::vector<Parameter*> parameters, const Options& options, Stream& stream);

  /// Fills weights as each parameter's Init says; a pure function of (seed, name, global index).
  void initialize(std::uint64_t seed, Stream& stream);
  void zero_gradients(Stream& stream);

  std::vector<ParameterGroup>& groups() { return groups_; }
  const std::vector<ParameterGroup>& groups() const { return groups_; }
  const std::vector<Parameter*>& parameters() const { return parameters_; }
  /// Elements without padding.
  std::int64_t numel() const;

 private:
  Backend& ops_;
  std::vector<Parameter*> parameters_;
  std::vector<ParameterGroup> groups_;
};

}  // namespace athanor
