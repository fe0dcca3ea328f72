#include "src/backend/cuda/gemm.hpp"

#include <algorithm>
#include <string>

#include "src/backend/cuda/cuda_device.hpp"
#include "src/backend/cuda/cuda_stream.hpp"

namespace athanor::cuda {
namespace {

constexpr std::size_t kWorkspaceBytes = std::size_t{32} << 20;  // what cuBLAS recommends for Hopper

struct Destroy {
  void operator()(cublasLtMatmulDesc_t desc) const { cublasLtMatmulDescDestroy(desc); }
  void operator()(cublasLtMatrixLayout_t layout) const { cublasLtMatrixLayoutDestroy(layout); }
  void operator()(cublasLtMatmulPreference_t preference) const { cublasLtMatmulPreferenceDestroy(preference); }
};
using Layout = std::unique_ptr<cublasLtMatrixLayoutOpaque_t, Destroy>;
using Description = std::unique_ptr<cublasLtMatmulDescOpaque_t, Destroy>;
using Preference = std::unique_ptr<cublasLtMatmulPreferenceOpaque_t, Destroy>;

cudaDataType_t type_of(DType dtype) {
  switch (dtype) {
    case DType::f64:
      return CUDA_R_64F;
    case DType::f32:
      return CUDA_R_32F;
    case DType::bf16:
      return CUDA_R_16BF;
    default:
      throw Error("gemm: no product of " + std::string(to_string(dtype)) + "; use f32, bf16 or f64");
  }
}

/// A row-major matrix is, to cuBLAS, its transpose by columns.
Layout layout_of(DType dtype, std::int64_t rows, std::int64_t columns) {
  cublasLtMatrixLayout_t layout = nullptr;
  check(cublasLtMatrixLayoutCreate(&layout, type_of(dtype), static_cast<std::uint64_t>(columns),
                                   static_cast<std::uint64_t>(rows), columns),
        "a matrix layout");
  return Layout(layout);
}

/// The largest power of two up to 256 that divides the address.
std::uint32_t alignment_of(const Tensor& tensor) {
  const auto address = reinterpret_cast<std::uintptr_t>(tensor.unsafe_data()) | 256U;
  return static_cast<std::uint32_t>(address & (~address + 1));
}

}  // namespace

/// What to run for one shape.
struct MatrixProducts::Plan {
  Description description;
  Layout a, b, c;
  cublasLtMatmulAlgo_t algorithm{};
};

std::size_t MatrixProducts::Hash::operator()(const Key& key) const {
  std::uint64_t hash = 0x9E3779B97F4A7C15U;
  for (const std::int64_t value :
       {key.m, key.n, key.k,
        static_cast<std::int64_t>(key.transpose_a) | static_cast<std::int64_t>(key.transpose_b) << 1 |
            static_cast<std::int64_t>(key.in) << 2 | static_cast<std::int64_t>(key.out) << 6 |
            static_cast<std::int64_t>(key.alignment) << 10}) {
    hash = (hash ^ static_cast<std::uint64_t>(value)) * 0xff51afd7ed558ccdU;
    hash ^= hash >> 32;
  }
  return hash;
}

MatrixProducts::MatrixProducts(int device) : device_(device) {
  const DeviceGuard guard(device);
  check(cublasLtCreate(&handle_), "cuBLASLt");
  if (const cudaError_t status = cudaMalloc(&workspace_, kWorkspaceBytes); status != cudaSuccess) {
    cublasLtDestroy(handle_);
    check(status, "the workspace of cuBLASLt");
  }
}

MatrixProducts::~MatrixProducts() {
  check_or_log(cudaSetDevice(device_), "make a device current");
  check_or_log(cudaFree(workspace_), "free the workspace of cuBLASLt");
  cublasLtDestroy(handle_);
}

const MatrixProducts::Plan& MatrixProducts::plan(const Key& key) {
  if (const auto found = plans_.find(key); found != plans_.end()) return *found->second;
  auto plan = std::make_unique<Plan>();
  const bool f64 = key.in == DType::f64;
  cublasLtMatmulDesc_t description = nullptr;
  check(cublasLtMatmulDescCreate(&description, f64 ? CUBLAS_COMPUTE_64F : CUBLAS_COMPUTE_32F,
                                 f64 ? CUDA_R_64F : CUDA_R_32F),
        "a product");
  plan->description.reset(description);
  // By columns the product reads C^T = op(B)^T op(A)^T: B comes first, and its stored form is B^T already.
  const cublasOperation_t first = key.transpose_b == Transpose::yes ? CUBLAS_OP_T : CUBLAS_OP_N;
  const cublasOperation_t second = key.transpose_a == Transpose::yes ? CUBLAS_OP_T : CUBLAS_OP_N;
  check(cublasLtMatmulDescSetAttribute(description, CUBLASLT_MATMUL_DESC_TRANSA, &first, sizeof(first)), "transpose");
  check(cublasLtMatmulDescSetAttribute(description, CUBLASLT_MATMUL_DESC_TRANSB, &second, sizeof(second)), "transpose");
  plan->a = key.transpose_a == Transpose::yes ? layout_of(key.in, key.k, key.m) : layout_of(key.in, key.m, key.k);
  plan->b = key.transpose_b == Transpose::yes ? layout_of(key.in, key.n, key.k) : layout_of(key.in, key.k, key.n);
  plan->c = layout_of(key.out, key.m, key.n);

  cublasLtMatmulPreference_t raw = nullptr;
  check(cublasLtMatmulPreferenceCreate(&raw), "a preference");
  const Preference preference(raw);
  const auto prefer = [&](cublasLtMatmulPreferenceAttributes_t attribute, auto value) {
    check(cublasLtMatmulPreferenceSetAttribute(raw, attribute, &value, sizeof(value)), "a preference");
  };
  prefer(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, kWorkspaceBytes);
  prefer(CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, static_cast<std::uint32_t>(CUBLASLT_REDUCTION_SCHEME_NONE));
  for (const auto attribute : {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
                               CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES})
    prefer(attribute, key.alignment);
  cublasLtMatmulHeuristicResult_t result{};
  int found = 0;
  const cublasStatus_t status = cublasLtMatmulAlgoGetHeuristic(handle_, description, plan->b.get(), plan->a.get(),
                                                               plan->c.get(), plan->c.get(), raw, 1, &result, &found);
  const std::string what = "an algorithm for " + std::string(to_string(key.in)) + " [" + std::to_string(key.m) + ", " +
                           std::to_string(key.k) + "] times [" + std::to_string(key.k) + ", " + std::to_string(key.n) +
                           "]";
  check(status, what);
  check(found > 0 ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_NOT_SUPPORTED, what);
  plan->algorithm = result.algo;
  return *plans_.emplace(key, std::move(plan)).first->second;
}

void MatrixProducts::gemm(Tensor c, const Tensor& a, Transpose transpose_a, const Tensor& b, Transpose transpose_b,
                          bool accumulate, Stream& stream) {
  const std::int64_t a_rows = a.shape().flat_rows(), a_columns = a.shape().back();
  const std::int64_t b_rows = b.shape().flat_rows(), b_columns = b.shape().back();
  Key key{.m = transpose_a == Transpose::yes ? a_columns : a_rows,
          .n = transpose_b == Transpose::yes ? b_rows : b_columns,
          .k = transpose_a == Transpose::yes ? a_rows : a_columns,
          .transpose_a = transpose_a,
          .transpose_b = transpose_b,
          .in = a.dtype(),
          .out = c.dtype(),
          .alignment = std::min({alignment_of(a), alignment_of(b), alignment_of(c)})};
  const auto operands = [&] { return a.to_string() + " and " + b.to_string() + " into " + c.to_string(); };
  if ((transpose_b == Transpose::yes ? b_columns : b_rows) != key.k || c.shape().flat_rows() != key.m ||
      c.shape().back() != key.n)
    throw Error("gemm: sizes do not fit: " + operands());
  if (b.dtype() != key.in || (key.out != key.in && (key.in != DType::bf16 || key.out != DType::f32)))
    throw Error("gemm: no such product of types: " + operands());
  auto& cuda_stream = static_cast<CudaStream&>(stream);
  for (const Tensor* tensor : {&a, &b, static_cast<const Tensor*>(&c)})
    if (tensor->device() != Device{Device::Kind::cuda, device_} || cuda_stream.device() != device_)
      throw Error("gemm: wanted tensors and stream on cuda:" + std::to_string(device_) + ": " + operands());
  if (key.m == 0 || key.n == 0) return;
  const DeviceGuard guard(device_);
  if (key.k == 0) {
    if (!accumulate) check(cudaMemsetAsync(c.unsafe_data(), 0, c.bytes(), cuda_stream.handle()), "zero a product");
    return;
  }
  const Plan& p = plan(key);
  const float one_f = 1.0F, beta_f = accumulate ? 1.0F : 0.0F;
  const double one_d = 1.0, beta_d = accumulate ? 1.0 : 0.0;
  const bool f64 = key.in == DType::f64;
  check(cublasLtMatmul(handle_, p.description.get(), f64 ? static_cast<const void*>(&one_d) : &one_f, b.unsafe_data(),
                       p.b.get(), a.unsafe_data(), p.a.get(), f64 ? static_cast<const void*>(&beta_d) : &beta_f,
                       c.unsafe_data(), p.c.get(), c.unsafe_data(), p.c.get(), &p.algorithm, workspace_,
                       kWorkspaceBytes, cuda_stream.handle()),
        "a matrix product");
}

}  // namespace athanor::cuda
