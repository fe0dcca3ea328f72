// Matrix products of the emulated GPU: plain loops with the interface and the types of cuBLASLt's.
#include "src/backend/cuda/product_library.hpp"

#include "tests/support/cuda_emulation/streams.hpp"

namespace athanor::cuda {
namespace {

template <class In, class Out>
void multiply(const Product& p, Out* c, const In* a, const In* b, bool accumulate) {
  using Acc = std::conditional_t<std::is_same_v<In, double>, double, float>;
  for (std::int64_t i = 0; i < p.m; ++i)
    for (std::int64_t j = 0; j < p.n; ++j) {
      Acc sum = accumulate ? static_cast<Acc>(c[i * p.n + j]) : Acc{0};
      for (std::int64_t k = 0; k < p.k; ++k)
        sum += static_cast<Acc>(a[p.transpose_a == Transpose::yes ? k * p.m + i : i * p.k + k]) *
               static_cast<Acc>(b[p.transpose_b == Transpose::yes ? j * p.k + k : k * p.n + j]);
      c[i * p.n + j] = static_cast<Out>(sum);
    }
}

}  // namespace

struct ProductLibrary::State {};

ProductLibrary::ProductLibrary(int) {}
ProductLibrary::~ProductLibrary() = default;

void ProductLibrary::run(const Product& product, void* c, const void* a, const void* b, bool accumulate,
                         cudaStream_t stream) {
  emulation::enqueue(stream, [=] {
    const auto with = [&](auto in, auto out) {
      using In = decltype(in);
      using Out = decltype(out);
      multiply(product, static_cast<Out*>(c), static_cast<const In*>(a), static_cast<const In*>(b), accumulate);
    };
    if (product.in == DType::f64) return with(double{}, double{});
    if (product.in == DType::f32) return with(float{}, float{});
    if (product.out == DType::f32) return with(bf16{}, float{});
    return with(bf16{}, bf16{});
  });
}

}  // namespace athanor::cuda
