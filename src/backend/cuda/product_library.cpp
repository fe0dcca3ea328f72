// Matrix products through cuBLASLt.
#include <cublasLt.h>

#include <string>
#include <unordered_map>

#include "src/backend/cuda/cuda_device.hpp"
#include "src/backend/cuda/product_library.hpp"
#include "src/base/error.hpp"

namespace athanor::cuda {
namespace {

constexpr std::size_t kWorkspaceBytes = std::size_t{32} << 20;  // what cuBLAS recommends for Hopper

void check(cublasStatus_t status, std::string_view what,
           const std::source_location& where = std::source_location::current()) {
  if (status != CUBLAS_STATUS_SUCCESS) fail(what, cublasLtGetStatusString(status), where);
}
using cuda::check;

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
    case DType::u8:
      return CUDA_R_8F_E4M3;
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

/// What to run for one shape.
struct Plan {
  Description description;
  Layout a, b, c;
  cublasLtMatmulAlgo_t algorithm{};
  bool exists = false;  ///< an algorithm for it
};

struct Hash {
  std::size_t operator()(const Product& key) const {
    std::uint64_t hash = 0x9E3779B97F4A7C15U;
    for (const std::int64_t value :
         {key.m, key.n, key.k,
          static_cast<std::int64_t>(key.transpose_a) | static_cast<std::int64_t>(key.transpose_b) << 1 |
              static_cast<std::int64_t>(key.in) << 2 | static_cast<std::int64_t>(key.out) << 6 |
              static_cast<std::int64_t>(key.alignment) << 10 | static_cast<std::int64_t>(key.b_tiles) << 20 |
              static_cast<std::int64_t>(key.rows_alike) << 24 | static_cast<std::int64_t>(key.with_bias) << 25}) {
      hash = (hash ^ static_cast<std::uint64_t>(value)) * 0xff51afd7ed558ccdU;
      hash ^= hash >> 32;
    }
    return hash;
  }
};

}  // namespace

struct ProductLibrary::State {
  int device;
  cublasLtHandle_t handle_ = nullptr;
  void* workspace_ = nullptr;
  std::unordered_map<Product, std::unique_ptr<Plan>, Hash> plans_;

  /// The plan, made on first use; it may say that there is no algorithm.
  const Plan& look_up(const Product& key);
  /// @throws Error when there is none.
  const Plan& plan(const Product& key);
};

namespace {
std::string text_of(const Product& key) {
  return "an algorithm for " + std::string(key.in == DType::u8 ? "FP8" : to_string(key.in)) + " [" +
         std::to_string(key.m) + ", " + std::to_string(key.k) + "] times [" + std::to_string(key.k) + ", " +
         std::to_string(key.n) + "]";
}
}  // namespace

ProductLibrary::ProductLibrary(int device) : state_(std::make_unique<State>()) {
  state_->device = device;
  const DeviceGuard guard(device);
  check(cublasLtCreate(&state_->handle_), "cuBLASLt");
  if (const cudaError_t status = cudaMalloc(&state_->workspace_, kWorkspaceBytes); status != cudaSuccess) {
    cublasLtDestroy(state_->handle_);
    check(status, "the workspace of cuBLASLt");
  }
}

ProductLibrary::~ProductLibrary() {
  check_or_log(cudaSetDevice(state_->device), "make a device current");
  check_or_log(cudaFree(state_->workspace_), "free the workspace of cuBLASLt");
  cublasLtDestroy(state_->handle_);
}

const Plan& ProductLibrary::State::plan(const Product& key) {
  const Plan& plan = look_up(key);
  if (!plan.exists) check(CUBLAS_STATUS_NOT_SUPPORTED, text_of(key));
  return plan;
}

const Plan& ProductLibrary::State::look_up(const Product& key) {
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
  if (key.in == DType::u8) {
    // Layouts of the scales: cuBLAS documentation, "1D and 2D block scaling": Fp8Matrix keeps them so.
    const std::int32_t by_rows = CUBLASLT_MATMUL_MATRIX_SCALE_VEC128_32F,
                       first_tiles = key.b_tiles == Fp8Tiles::blocks ? CUBLASLT_MATMUL_MATRIX_SCALE_BLK128x128_32F
                                                                     : CUBLASLT_MATMUL_MATRIX_SCALE_VEC128_32F;
    check(cublasLtMatmulDescSetAttribute(description, CUBLASLT_MATMUL_DESC_A_SCALE_MODE, &first_tiles,
                                         sizeof(first_tiles)),
          "scales");
    check(cublasLtMatmulDescSetAttribute(description, CUBLASLT_MATMUL_DESC_B_SCALE_MODE, &by_rows, sizeof(by_rows)),
          "scales");
  }
  if (key.with_bias) {  // a number for every row of C^T
    const cublasLtEpilogue_t epilogue = CUBLASLT_EPILOGUE_BIAS;
    const cudaDataType_t type = type_of(key.out);
    check(cublasLtMatmulDescSetAttribute(description, CUBLASLT_MATMUL_DESC_EPILOGUE, &epilogue, sizeof(epilogue)),
          "a bias");
    check(cublasLtMatmulDescSetAttribute(description, CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, &type, sizeof(type)),
          "a bias");
  }
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
  // An algorithm without a reduction over blocks sums an element in the order of its tile's steps, which m leaves
  // alone.
  const std::int64_t rows = key.rows_alike ? kRowsAlike : key.m;
  const Layout asked_a =
                   key.transpose_a == Transpose::yes ? layout_of(key.in, key.k, rows) : layout_of(key.in, rows, key.k),
               asked_c = layout_of(key.out, rows, key.n);
  cublasLtMatmulHeuristicResult_t result{};
  int found = 0;
  const cublasStatus_t status = cublasLtMatmulAlgoGetHeuristic(handle_, description, plan->b.get(), asked_a.get(),
                                                               asked_c.get(), asked_c.get(), raw, 1, &result, &found);
  if (status != CUBLAS_STATUS_NOT_SUPPORTED) check(status, text_of(key));
  plan->exists = status == CUBLAS_STATUS_SUCCESS && found > 0;
  plan->algorithm = result.algo;
  if (plan->exists && key.rows_alike)
    plan->exists = cublasLtMatmulAlgoCheck(handle_, description, plan->b.get(), plan->a.get(), plan->c.get(),
                                           plan->c.get(), &plan->algorithm, &result) == CUBLAS_STATUS_SUCCESS &&
                   result.workspaceSize <= kWorkspaceBytes;
  return *plans_.emplace(key, std::move(plan)).first->second;
}

void ProductLibrary::run(const Product& product, void* c, const void* a, const void* b, bool accumulate,
                         cudaStream_t stream) {
  const Plan& p = state_->plan(product);
  const float one_f = 1.0F, beta_f = accumulate ? 1.0F : 0.0F;
  const double one_d = 1.0, beta_d = accumulate ? 1.0 : 0.0;
  const bool f64 = product.in == DType::f64;
  check(cublasLtMatmul(state_->handle_, p.description.get(), f64 ? static_cast<const void*>(&one_d) : &one_f, b,
                       p.b.get(), a, p.a.get(), f64 ? static_cast<const void*>(&beta_d) : &beta_f, c, p.c.get(), c,
                       p.c.get(), &p.algorithm, state_->workspace_, kWorkspaceBytes, stream),
        "a matrix product");
}

bool ProductLibrary::has_bias(const Product& product) { return state_->look_up(product).exists; }

void ProductLibrary::run_bias(const Product& product, void* c, const void* a, const void* b, const void* bias,
                              cudaStream_t stream) {
  const Plan& p = state_->plan(product);
  check(cublasLtMatmulDescSetAttribute(p.description.get(), CUBLASLT_MATMUL_DESC_BIAS_POINTER, &bias, sizeof(bias)),
        "a bias");
  run(product, c, a, b, false, stream);
}

bool ProductLibrary::has_fp8(const Product& product) {
  // These scale modes are Hopper's alone; sizes as cuBLAS documents for them.
  if (capability_of(state_->device) != 90 || product.m % 4 != 0 || product.n % 8 != 0 || product.k % 16 != 0 ||
      product.alignment < 16)
    return false;
  return state_->look_up(product).exists;
}

void ProductLibrary::run_fp8(const Product& product, void* c, const void* a, const float* a_scales, const void* b,
                             const float* b_scales, bool accumulate, cudaStream_t stream) {
  const Plan& p = state_->plan(product);
  check(cublasLtMatmulDescSetAttribute(p.description.get(), CUBLASLT_MATMUL_DESC_A_SCALE_POINTER, &b_scales,
                                       sizeof(b_scales)),
        "scales");
  check(cublasLtMatmulDescSetAttribute(p.description.get(), CUBLASLT_MATMUL_DESC_B_SCALE_POINTER, &a_scales,
                                       sizeof(a_scales)),
        "scales");
  run(product, c, a, b, accumulate, stream);
}

}  // namespace athanor::cuda
