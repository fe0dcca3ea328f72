// The part of a model that one rank of a mesh trains: its chunks, cut over tp and cp, their experts spread over ep.
// Law: which part that is follows from (configuration, mesh, placement of chunks) alone. The embedding exists once a
// rank; where the first and the last chunk lie on two ranks and both need it (tied head, MTP), each has a copy, and
// GradientGroup::shared keeps the two equal bit for bit: they are updated from one sum by one owner.
#pragma once

#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "parallel/expert/placement.hpp"
#include "parallel/process_mesh.hpp"
#include "src/model/transformer.hpp"

namespace athanor {

struct MeshModelOptions {
  ModelConfig config = {};
  DType dtype = DType::f32;
  std::vector<int> chunk_rank = {};            ///< pipeline rank of every chunk; empty: chunk i on rank i
  std::vector<std::int64_t> layer_split = {};  ///< layers of every chunk; empty: even
  /// By layer ("layers.3"), for inference: experts placed by load. Layers not named have theirs in order.
  std::map<std::string, ExpertPlacement> placements = {};
  std::int64_t ranks_per_node = 0;  ///< for sending tokens to experts; 0: by host names
};

class MeshModel {
 public:
  /// Collective over the layer axis. @throws ConfigError when the mesh does not divide the model.
  MeshModel(Backend& ops, ProcessMesh& mesh, const MeshModelOptions& options, Stream& stream);

  /// By number over the whole pipeline, null where another rank owns them.
  std::vector<ModelChunk*> chunks() const;
  int num_chunks() const { return num_chunks_; }
  std::vector<Parameter*> parameters() const;
  std::vector<StateTensor*> states() const;

  /// The forward without a backward through all chunks (ctx.training = false): activations travel along pp. Collective
  /// over pp and the layer axis. @returns losses_T (acc, of the whole vocabulary) where the head is, else nothing.
  Tensor token_losses(ExecContext& ctx);
  /// The same of a model with a scalar head: values_T (acc), its number at each token, where the head is. Collective
  /// over pp and the layer axis. @throws Error where the head is one of tokens.
  Tensor values(ExecContext& ctx);

  /// The same, but returns what the head takes, [T, D] behind the final norm (Transformer::logits_of goes on from it).
  Tensor hidden(ExecContext& ctx);

  /// Rows against the caches of this rank's chunks (make_caches), through the pipeline. Collective over pp and the
  /// layer axis: the same rows along pp and tp. @returns logits_NV (acc) where the head is, else nothing.
  Tensor decode(ExecContext& ctx, const DecodeRows& rows, std::span<KvCache> caches);
  std::vector<KvCache> make_caches(Backend& ops, std::int64_t num_pages, std::int64_t page_rows, CacheForm form) const;
  /// The pipeline rank with the head.
  int head_rank() const { return options_.chunk_rank.back(); }

  /// Tokens every expert of every layer with experts served since zero_sums, by layer, over all ranks. For models of
  /// one chunk. Collective over the layer axis.
  std::map<std::string, std::vector<std::int64_t>> expert_loads(Backend& ops, Stream& stream);

  /// The model where it is one chunk. @throws Error elsewhere.
  Transformer& whole() const;
  /// The chunk with the head, on the rank that has it, else null.
  Transformer* last() const;
  Transformer& part(std::size_t i) const { return *parts_[i]; }
  std::size_t num_parts() const { return parts_.size(); }

  /// What the user should know of this layout; empty: nothing.
  const std::string& warning() const { return warning_; }

  const ModelConfig& config() const { return options_.config; }
  DType dtype() const { return options_.dtype; }

  /// Names the first layer or parameter here that is not finite in a forward of ctx.batch; empty when all are. With one
  /// chunk a forward is run (collective where ranks share layers); with several only parameters and gradients are
  /// looked at. Synchronizes.
  std::string first_nonfinite(ExecContext& ctx) const;

 private:
  Tensor evaluate(ExecContext& ctx);
  /// Runs the chunks of this rank in order, f(part, x), with messages of the given shape between ranks.
  template <class F>
  Tensor through_pipeline(ExecContext& ctx, const Shape& activations, const F& f);

  MeshModelOptions options_;
  ProcessMesh& mesh_;
  std::string warning_;
  int num_chunks_ = 1;
  std::vector<int> chunk_ids_;
  std::unique_ptr<Stream> expert_rows_;  ///< on their way to experts of other ranks; null: there are none
  std::vector<std::unique_ptr<Transformer>> parts_;
};

}  // namespace athanor
