#include "src/backend/cuda/cross_entropy_kernels.cuh"

#include "src/backend/cuda/device.cuh"
#include "src/backend/cuda/row_log_sum_exp.cuh"

namespace athanor::cuda {
namespace {

template <class T>
__device__ void store_zeros(const Packs<T>& row) {
  const acc_t<T> zeros[kPack<T>] = {};
  for (std::int64_t p = threadIdx.x; p < packs_of(row.count, kPack<T>); p += blockDim.x) row.store(p, zeros);
}

/// row = (exp(logits - lse) - onehot) * weight; the target's own value is given.
template <class T>
__device__ void store_gradient(const Packs<T>& row, const Packs<const T>& logits, acc_t<T> lse, acc_t<T> weight,
                               std::int64_t target, acc_t<T> at_target) {
  constexpr int kCount = kPack<T>;
  acc_t<T> values[kCount];
  for (std::int64_t p = threadIdx.x; p < packs_of(row.count, kCount); p += blockDim.x) {
    logits.load(p, values);
#pragma unroll
    for (int i = 0; i < kCount; ++i)
      values[i] = p * kCount + i == target ? at_target : exponential(values[i] - lse) * weight;
    row.store(p, values);
  }
}

template <class T>
__global__ void cross_entropy_kernel(acc_t<T>* losses, Rows<T> dlogits, Rows<const T> logits,
                                     const std::int32_t* targets, const acc_t<T>* weights, IdCheck check) {
  using Acc = acc_t<T>;
  const std::int64_t t = blockIdx.x, target = targets[t];
  const Acc weight = weights[t];
  bool counts = weight != Acc{0};
  if (counts && !check.contains(target)) {
    if (threadIdx.x == 0) check.tell(target, t);
    counts = false;
  }
  if (!counts) {
    if (threadIdx.x == 0) losses[t] = Acc{0};
    if (dlogits.data) store_zeros(dlogits.row(t));
    return;
  }
  const Packs<const T> row = logits.row(t);
  const Acc of_target = widen(row.data[target]);  // before a gradient in place overwrites it
  const Acc lse = log_sum_exp(row).value, log_probability = of_target - lse;
  if (threadIdx.x == 0) losses[t] = -log_probability;
  if (dlogits.data)
    store_gradient(dlogits.row(t), row, lse, weight, target, (exponential(log_probability) - Acc{1}) * weight);
}

template <class T>
__global__ void part_kernel(acc_t<T>* part, Rows<const T> logits, const std::int32_t* targets, IdCheck check) {
  const std::int64_t t = blockIdx.x, target = targets[t];
  const acc_t<T> lse = log_sum_exp(logits.row(t)).value;
  if (threadIdx.x != 0) return;
  part[2 * t] = lse;
  part[2 * t + 1] = check.holds(target, t) && target >= 0 ? widen(logits.row(t).data[target]) : acc_t<T>{0};
}

template <class T>
struct Merge {
  T *losses, *lse;
  const T *parts, *weights;
  std::int64_t tokens, ranks;
  __device__ double part(std::int64_t rank, std::int64_t t, std::int64_t i) const {
    return static_cast<double>(widen(parts[(rank * tokens + t) * 2 + i]));
  }
  __device__ void operator()(std::int64_t t) const {
    double highest = part(0, t, 0), sum = 0.0, target = 0.0;
    for (std::int64_t p = 1; p < ranks; ++p) highest = larger(highest, part(p, t, 0));
    for (std::int64_t p = 0; p < ranks; ++p) {
      sum += exp(part(p, t, 0) - highest);
      target += part(p, t, 1);
    }
    const double total = highest + log(sum);
    lse[t] = narrow<T>(static_cast<acc_t<T>>(total));
    losses[t] = narrow<T>(widen(weights[t]) == acc_t<T>{0} ? acc_t<T>{0} : static_cast<acc_t<T>>(total - target));
  }
};

template <class T>
__global__ void part_backward_kernel(Rows<T> dlogits, Rows<const T> logits, const acc_t<T>* lses,
                                     const std::int32_t* targets, const acc_t<T>* weights, IdCheck check) {
  using Acc = acc_t<T>;
  const std::int64_t t = blockIdx.x, target = targets[t];
  if (threadIdx.x == 0) check.holds(target, t);
  const Acc weight = weights[t], lse = lses[t];
  if (weight == Acc{0}) return store_zeros(dlogits.row(t));
  const Packs<const T> row = logits.row(t);
  Acc at_target{};
  // Only the thread that holds the target's pack needs it, and it reads before it writes.
  if (target >= 0 && target < row.count && target / kPack<T> % blockDim.x == threadIdx.x)
    at_target = (exponential(widen(row.data[target]) - lse) - Acc{1}) * weight;
  store_gradient(dlogits.row(t), row, lse, weight, target, at_target);
}

template <class T>
__global__ void distillation_kernel(acc_t<T>* losses, Rows<T> dlogits, Rows<const T> logits, Rows<const T> teacher,
                                    const acc_t<T>* weights, bool reverse) {
  using Acc = acc_t<T>;
  constexpr int kCount = kPack<T>;
  const std::int64_t t = blockIdx.x;
  const Acc weight = weights[t];
  if (weight == Acc{0}) {
    if (threadIdx.x == 0) losses[t] = Acc{0};
    if (dlogits.data) store_zeros(dlogits.row(t));
    return;
  }
  const Packs<const T> student_row = logits.row(t), teacher_row = teacher.row(t);
  const Acc lse_student = log_sum_exp(student_row).value, lse_teacher = log_sum_exp(teacher_row).value;
  const std::int64_t packs = packs_of(logits.width, kCount);
  Acc log_q[kCount], log_p[kCount];
  double divergence = 0.0;
  for (std::int64_t p = threadIdx.x; p < packs; p += blockDim.x) {
    student_row.load(p, log_q);
    teacher_row.load(p, log_p);
#pragma unroll
    for (int i = 0; i < kCount; ++i) {
      const Acc q = log_q[i] - lse_student, teachers = log_p[i] - lse_teacher;
      const Acc term = reverse ? exponential(q) * (q - teachers) : exponential(teachers) * (teachers - q);
      if (p * kCount + i < logits.width) divergence += static_cast<double>(term);
    }
  }
  const Acc mean = static_cast<Acc>(team_sum(divergence));
  if (threadIdx.x == 0) losses[t] = mean;
  if (!dlogits.data) return;
  for (std::int64_t p = threadIdx.x; p < packs; p += blockDim.x) {
    student_row.load(p, log_q);
    teacher_row.load(p, log_p);
#pragma unroll
    for (int i = 0; i < kCount; ++i) {
      const Acc log_own = log_q[i] - lse_student, log_theirs = log_p[i] - lse_teacher, q = exponential(log_own);
      log_q[i] = (reverse ? q * (log_own - log_theirs - mean) : q - exponential(log_theirs)) * weight;
    }
    dlogits.row(t).store(p, log_q);
  }
}

template <class T>
LaunchShape shape_of(const LogitRows& rows) {
  return logits_shape(rows.tokens, packs_of(rows.vocabulary, kPack<T>));
}

}  // namespace

cudaError_t launch_cross_entropy(void* losses, void* dlogits, const void* logits, const std::int32_t* targets,
                                 const void* weights, const LogitRows& rows, const IdCheck& check,
                                 cudaStream_t stream) {
  if (rows.tokens == 0) return cudaSuccess;
  return with_floating(rows.dtype, [&](auto type) {
    using T = decltype(type);
    return launch(cross_entropy_kernel<T>, shape_of<T>(rows), stream, static_cast<acc_t<T>*>(losses),
                  rows_at(static_cast<T*>(dlogits), rows.vocabulary),
                  rows_at(static_cast<const T*>(logits), rows.vocabulary), targets,
                  static_cast<const acc_t<T>*>(weights), check);
  });
}

cudaError_t launch_cross_entropy_part(void* part, const void* logits, const std::int32_t* targets,
                                      const LogitRows& rows, const IdCheck& check, cudaStream_t stream) {
  if (rows.tokens == 0) return cudaSuccess;
  return with_floating(rows.dtype, [&](auto type) {
    using T = decltype(type);
    return launch(part_kernel<T>, shape_of<T>(rows), stream, static_cast<acc_t<T>*>(part),
                  rows_at(static_cast<const T*>(logits), rows.vocabulary), targets, check);
  });
}

cudaError_t launch_cross_entropy_merge(void* losses, void* lse, const void* parts, const void* weights, DType dtype,
                                       std::int64_t tokens, std::int64_t ranks, cudaStream_t stream) {
  return with_floating(dtype, [&](auto type) {
    using T = decltype(type);
    return for_each(Merge<T>{static_cast<T*>(losses), static_cast<T*>(lse), static_cast<const T*>(parts),
                             static_cast<const T*>(weights), tokens, ranks},
                    tokens, stream);
  });
}

cudaError_t launch_cross_entropy_part_backward(void* dlogits, const void* logits, const void* lse,
                                               const std::int32_t* targets, const void* weights, const LogitRows& rows,
                                               const IdCheck& check, cudaStream_t stream) {
  if (rows.tokens == 0) return cudaSuccess;
  return with_floating(rows.dtype, [&](auto type) {
    using T = decltype(type);
    return launch(part_backward_kernel<T>, shape_of<T>(rows), stream,
                  rows_at(static_cast<T*>(dlogits), rows.vocabulary),
                  rows_at(static_cast<const T*>(logits), rows.vocabulary), static_cast<const acc_t<T>*>(lse), targets,
                  static_cast<const acc_t<T>*>(weights), check);
  });
}

cudaError_t launch_distillation(void* losses, void* dlogits, const void* logits, const void* teacher,
                                const void* weights, bool reverse, const LogitRows& rows, cudaStream_t stream) {
  if (rows.tokens == 0) return cudaSuccess;
  return with_floating(rows.dtype, [&](auto type) {
    using T = decltype(type);
    return launch(
        distillation_kernel<T>, shape_of<T>(rows), stream, static_cast<acc_t<T>*>(losses),
        rows_at(static_cast<T*>(dlogits), rows.vocabulary), rows_at(static_cast<const T*>(logits), rows.vocabulary),
        rows_at(static_cast<const T*>(teacher), rows.vocabulary), static_cast<const acc_t<T>*>(weights), reverse);
  });
}

}  // namespace athanor::cuda
