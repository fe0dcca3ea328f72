// Matrix products of the emulated GPU: plain loops with the interface and the types of cuBLASLt's.
#include "src/backend/cuda/product_library.hpp"

#include <algorithm>
#include <cmath>

#include "src/base/e4m3.hpp"
#include "tests/support/cuda_emulation/streams.hpp"

namespace athanor::cuda {
namespace {

/// bias: of every column, or null.
template <class In, class Out>
void multiply(const Product& p, Out* c, const In* a, const In* b, bool accumulate, const Out* bias) {
  using Acc = std::conditional_t<std::is_same_v<In, double>, double, float>;
  for (std::int64_t i = 0; i < p.m; ++i)
    for (std::int64_t j = 0; j < p.n; ++j) {
      Acc sum = accumulate ? static_cast<Acc>(c[i * p.n + j]) : bias ? static_cast<Acc>(bias[j]) : Acc{0};
      for (std::int64_t k = 0; k < p.k; ++k)
        sum += static_cast<Acc>(a[p.transpose_a == Transpose::yes ? k * p.m + i : i * p.k + k]) *
               static_cast<Acc>(b[p.transpose_b == Transpose::yes ? j * p.k + k : k * p.n + j]);
      c[i * p.n + j] = static_cast<Out>(sum);
    }
}

/// FP8 as the CPU back end defines it, from the layouts that cuBLAS documents for the scales.
template <class Out>
void multiply_fp8(const Product& p, Out* c, const std::uint8_t* a, const float* a_scales, const std::uint8_t* b,
                  const float* b_scales, bool accumulate) {
  const std::int64_t tiles = (p.k + 127) / 128, stride = (tiles + 3) / 4 * 4;
  for (std::int64_t i = 0; i < p.m; ++i)
    for (std::int64_t j = 0; j < p.n; ++j) {
      float sum = 0;
      for (std::int64_t t = 0; t < tiles; ++t) {
        double dot = 0;
        for (std::int64_t k = t * 128; k < std::min(p.k, t * 128 + 128); ++k)
          dot +=
              static_cast<double>(e4m3::value_of(a[i * p.k + k])) * static_cast<double>(e4m3::value_of(b[j * p.k + k]));
        const float b_scale = p.b_tiles == Fp8Tiles::blocks ? b_scales[j / 128 * stride + t] : b_scales[t * p.n + j];
        sum = std::fma(static_cast<float>(dot), a_scales[t * p.m + i] * b_scale, sum);
      }
      c[i * p.n + j] = static_cast<Out>(accumulate ? static_cast<float>(c[i * p.n + j]) + sum : sum);
    }
}

void enqueue_product(const Product& product, void* c, const void* a, const void* b, bool accumulate, const void* bias,
                     cudaStream_t stream) {
  emulation::enqueue(stream, [=] {
    const auto with = [&](auto in, auto out) {
      using In = decltype(in);
      using Out = decltype(out);
      multiply(product, static_cast<Out*>(c), static_cast<const In*>(a), static_cast<const In*>(b), accumulate,
               static_cast<const Out*>(bias));
    };
    if (product.in == DType::f64) return with(double{}, double{});
    if (product.in == DType::f32) return with(float{}, float{});
    if (product.out == DType::f32) return with(bf16{}, float{});
    return with(bf16{}, bf16{});
  });
}

}  // namespace

struct ProductLibrary::State {};

ProductLibrary::ProductLibrary(int) {}
ProductLibrary::~ProductLibrary() = default;

void ProductLibrary::run(const Product& product, void* c, const void* a, const void* b, bool accumulate,
                         cudaStream_t stream) {
  enqueue_product(product, c, a, b, accumulate, nullptr, stream);
}

bool ProductLibrary::has_bias(const Product& product) { return product.in != DType::f64; }

void ProductLibrary::run_bias(const Product& product, void* c, const void* a, const void* b, const void* bias,
                              cudaStream_t stream) {
  enqueue_product(product, c, a, b, false, bias, stream);
}

bool ProductLibrary::has_fp8(const Product& product) {
  return product.m % 4 == 0 && product.n % 8 == 0 && product.k % 16 == 0 && product.alignment >= 16;
}

void ProductLibrary::run_fp8(const Product& product, void* c, const void* a, const float* a_scales, const void* b,
                             const float* b_scales, bool accumulate, cudaStream_t stream) {
  emulation::enqueue(stream, [=] {
    const auto *left = static_cast<const std::uint8_t*>(a), *right = static_cast<const std::uint8_t*>(b);
    if (product.out == DType::f32)
      multiply_fp8(product, static_cast<float*>(c), left, a_scales, right, b_scales, accumulate);
    else
      multiply_fp8(product, static_cast<bf16*>(c), left, a_scales, right, b_scales, accumulate);
  });
}

}  // namespace athanor::cuda
