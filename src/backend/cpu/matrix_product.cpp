#include "src/backend/cpu/matrix_product.hpp"

#include <algorithm>
#include <cstring>
#include <string>
#include <unordered_map>
#include <vector>

#include <omp.h>

#include <dnnl.hpp>

#include "src/base/error.hpp"

namespace athanor::cpu {
namespace {

constexpr std::int64_t kMinRows = 16;

/// Scratch that grows to the largest request of its thread and stays.
template <class T>
T* scratch(std::size_t slot, std::size_t count) {
  thread_local std::vector<T> buffers[3];
  if (buffers[slot].size() < count) buffers[slot].resize(count);
  return buffers[slot].data();
}

/// Runs a product of m < 16 rows (A not transposed) as one of 16: rows are copied in, zero rows appended, results
/// copied out.
template <class In, class Out, class Product>
void padded_product(const MatrixProduct& p, const In* a, const In* b, Out* c, const Product& product) {
  In* a16 = scratch<In>(0, static_cast<std::size_t>(kMinRows * p.k));
  Out* c16 = scratch<Out>(1, static_cast<std::size_t>(kMinRows * p.n));
  for (std::int64_t i = 0; i < kMinRows; ++i) {
    if (i < p.m)
      std::copy_n(a + i * p.lda, p.k, a16 + i * p.k);
    else
      std::fill_n(a16 + i * p.k, p.k, In{});
    if (p.accumulate && i < p.m) std::copy_n(c + i * p.ldc, p.n, c16 + i * p.n);
    if (p.accumulate && i >= p.m) std::fill_n(c16 + i * p.n, p.n, Out{});
  }
  MatrixProduct whole = p;
  whole.m = kMinRows;
  whole.lda = p.k;
  whole.ldc = p.n;
  product(whole, a16, b, c16);
  for (std::int64_t i = 0; i < p.m; ++i) std::copy_n(c16 + i * p.n, p.n, c + i * p.ldc);
}

/// Keeps oneDNN on the calling thread: with threads of its own it may cut the summed dim, and rows would change with M.
class OneThread {
 public:
  OneThread() : threads_(omp_in_parallel() ? 1 : omp_get_max_threads()) {
    if (threads_ > 1) omp_set_num_threads(1);
  }
  ~OneThread() {
    if (threads_ > 1) omp_set_num_threads(threads_);
  }
  OneThread(const OneThread&) = delete;
  OneThread& operator=(const OneThread&) = delete;

 private:
  int threads_;
};

void check(dnnl_status_t status, const char* what) {
  if (status != dnnl_success)
    throw Error(std::string("oneDNN: ") + what + " failed with status " + std::to_string(static_cast<int>(status)));
}

void sgemm(const MatrixProduct& p, const float* a, const float* b, float* c) {
  check(dnnl_sgemm(p.transpose_a == Transpose::yes ? 'T' : 'N', p.transpose_b == Transpose::yes ? 'T' : 'N', p.m, p.n,
                   p.k, 1.0F, a, p.lda, b, p.ldb, p.accumulate ? 1.0F : 0.0F, c, p.ldc),
        "sgemm");
}

/// oneDNN matmul primitives of this thread, by shape. Made inside the calling thread, so that they plan for one thread.
class Bf16Products {
 public:
  void run(const MatrixProduct& p, const bf16* a, const bf16* b, void* c, bool out_f32) {
    Entry& entry = find(p, out_f32);
    entry.a.set_data_handle(const_cast<bf16*>(a));
    entry.b.set_data_handle(const_cast<bf16*>(b));
    entry.c.set_data_handle(c);
    entry.product.execute(stream_, entry.arguments);
  }

 private:
  struct Key {
    std::int64_t m, n, k, lda, ldb, ldc;
    int flags;
    bool operator==(const Key&) const = default;
  };
  struct Hash {
    std::size_t operator()(const Key& key) const {
      std::uint64_t hash = 0x9E3779B97F4A7C15U;
      for (const std::int64_t value : {key.m, key.n, key.k, key.lda, key.ldb, key.ldc, std::int64_t{key.flags}})
        hash = (hash ^ static_cast<std::uint64_t>(value)) * 0xff51afd7ed558ccdU, hash ^= hash >> 32;
      return hash;
    }
  };
  struct Entry {
    dnnl::matmul product;
    dnnl::memory a, b, c;
    std::unordered_map<int, dnnl::memory> arguments;
  };

  Entry& find(const MatrixProduct& p, bool out_f32) {
    const int flags = (p.transpose_a == Transpose::yes ? 1 : 0) | (p.transpose_b == Transpose::yes ? 2 : 0) |
                      (p.accumulate ? 4 : 0) | (out_f32 ? 8 : 0);
    const Key key{p.m, p.n, p.k, p.lda, p.ldb, p.ldc, flags};
    if (const auto found = entries_.find(key); found != entries_.end()) return found->second;
    using memory = dnnl::memory;
    const auto strides = [](Transpose transpose, std::int64_t ld) {
      return transpose == Transpose::yes ? memory::dims{1, ld} : memory::dims{ld, 1};
    };
    const memory::desc a({p.m, p.k}, memory::data_type::bf16, strides(p.transpose_a, p.lda));
    const memory::desc b({p.k, p.n}, memory::data_type::bf16, strides(p.transpose_b, p.ldb));
    const memory::desc c({p.m, p.n}, out_f32 ? memory::data_type::f32 : memory::data_type::bf16,
                         memory::dims{p.ldc, 1});
    dnnl::primitive_attr attributes;
    if (p.accumulate) {
      dnnl::post_ops sum;
      sum.append_sum(1.0F);
      attributes.set_post_ops(sum);
    }
    Entry entry;
    entry.product = dnnl::matmul(dnnl::matmul::primitive_desc(dnnl::matmul::desc(a, b, c), attributes, engine_));
    entry.a = memory(a, engine_, nullptr);
    entry.b = memory(b, engine_, nullptr);
    entry.c = memory(c, engine_, nullptr);
    entry.arguments = {{DNNL_ARG_SRC, entry.a}, {DNNL_ARG_WEIGHTS, entry.b}, {DNNL_ARG_DST, entry.c}};
    return entries_.emplace(key, std::move(entry)).first->second;
  }

  dnnl::engine engine_{dnnl::engine::kind::cpu, 0};
  dnnl::stream stream_{engine_};
  std::unordered_map<Key, Entry, Hash> entries_;
};

/// Cuts m (or, for a transposed A, the summed k) into at most 1024 and a multiple of 16, so that expert batches of any
/// size need few primitives; the last, short piece is padded with zeros.
template <class Out>
void bf16_product(const MatrixProduct& p, const bf16* a, const bf16* b, Out* c) {
  constexpr bool kOutF32 = std::is_same_v<Out, float>;
  constexpr std::int64_t kPiece = 1024;
  thread_local Bf16Products products;
  if (p.transpose_a == Transpose::no) {
    for (std::int64_t begin = 0; begin < p.m;) {
      MatrixProduct piece = p;
      const std::int64_t left = p.m - begin;
      piece.m = left >= kPiece ? kPiece : left >= kMinRows ? left / kMinRows * kMinRows : left;
      const auto run = [](const MatrixProduct& q, const bf16* qa, const bf16* qb, Out* qc) {
        products.run(q, qa, qb, qc, kOutF32);
      };
      if (piece.m >= kMinRows)
        run(piece, a + begin * p.lda, b, c + begin * p.ldc);
      else
        padded_product(piece, a + begin * p.lda, b, c + begin * p.ldc, run);
      begin += piece.m;
    }
    return;
  }
  if (p.transpose_b == Transpose::yes) {
    products.run(p, a, b, c, kOutF32);
    return;
  }
  // C (+)= A^T B with A [k, m], B [k, n]: the sum over rows in pieces.
  for (std::int64_t begin = 0; begin < p.k;) {
    MatrixProduct piece = p;
    const std::int64_t left = p.k - begin;
    piece.k = left >= kPiece ? kPiece : left >= kMinRows ? left / kMinRows * kMinRows : left;
    piece.accumulate = p.accumulate || begin > 0;
    if (piece.k >= kMinRows) {
      products.run(piece, a + begin * p.lda, b + begin * p.ldb, c, kOutF32);
    } else {
      bf16* a16 = scratch<bf16>(0, static_cast<std::size_t>(kMinRows * p.m));
      bf16* b16 = scratch<bf16>(2, static_cast<std::size_t>(kMinRows * p.n));
      for (std::int64_t i = 0; i < kMinRows; ++i) {
        const bool real = i < left;
        real ? std::copy_n(a + (begin + i) * p.lda, p.m, a16 + i * p.m) : std::fill_n(a16 + i * p.m, p.m, bf16{});
        real ? std::copy_n(b + (begin + i) * p.ldb, p.n, b16 + i * p.n) : std::fill_n(b16 + i * p.n, p.n, bf16{});
      }
      MatrixProduct padded = piece;
      padded.k = kMinRows;
      padded.lda = p.m;
      padded.ldb = p.n;
      products.run(padded, a16, b16, c, kOutF32);
    }
    begin += piece.k;
  }
}

template <class T>
void zero(const MatrixProduct& p, T* c) {
  if (p.accumulate) return;
  for (std::int64_t i = 0; i < p.m; ++i) std::fill_n(c + i * p.ldc, p.n, T{});
}

}  // namespace

void multiply(const MatrixProduct& p, const double* a, const double* b, double* c) {
  zero(p, c);
  if (p.m == 0 || p.n == 0 || p.k == 0) return;
  if (p.transpose_b == Transpose::yes) {
    // Transposed once, so that the inner loop runs along rows of C.
    double* b_KN = scratch<double>(2, static_cast<std::size_t>(p.k * p.n));
    for (std::int64_t j = 0; j < p.n; ++j)
      for (std::int64_t l = 0; l < p.k; ++l) b_KN[l * p.n + j] = b[j * p.ldb + l];
    MatrixProduct plain = p;
    plain.transpose_b = Transpose::no;
    plain.ldb = p.n;
    plain.accumulate = true;
    multiply(plain, a, b_KN, c);
    return;
  }
  const bool transposed = p.transpose_a == Transpose::yes;
  for (std::int64_t i = 0; i < p.m; ++i) {
    double* __restrict row = c + i * p.ldc;
    for (std::int64_t l = 0; l < p.k; ++l) {
      const double factor = transposed ? a[l * p.lda + i] : a[i * p.lda + l];
      const double* __restrict from = b + l * p.ldb;
      for (std::int64_t j = 0; j < p.n; ++j) row[j] += factor * from[j];
    }
  }
}

void multiply(const MatrixProduct& p, const float* a, const float* b, float* c) {
  if (p.m == 0 || p.n == 0 || p.k == 0) return zero(p, c);
  const OneThread guard;
  if (p.m < kMinRows && p.transpose_a == Transpose::no)
    padded_product(p, a, b, c, sgemm);
  else
    sgemm(p, a, b, c);
}

void multiply(const MatrixProduct& p, const bf16* a, const bf16* b, float* c) {
  if (p.m == 0 || p.n == 0 || p.k == 0) return zero(p, c);
  const OneThread guard;
  bf16_product(p, a, b, c);
}

void multiply(const MatrixProduct& p, const bf16* a, const bf16* b, bf16* c) {
  if (p.m == 0 || p.n == 0 || p.k == 0) return zero(p, c);
  const OneThread guard;
  bf16_product(p, a, b, c);
}

}  // namespace athanor::cpu
