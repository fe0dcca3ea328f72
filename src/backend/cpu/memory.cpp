// Moving elements: uploads and downloads, conversion, fills, rows by index, columns side by side.
#include <cstring>
#include <string>
#include <vector>

#include <omp.h>

#include "src/backend/cpu/cpu_backend.hpp"
#include "src/backend/cpu/kernel.hpp"
#include "src/backend/cpu/row_ids.hpp"

namespace athanor {
namespace {

using cpu::data;
using cpu::parallel_rows;

constexpr std::int64_t kPieceElements = 16384;

/// Shares a flat copy out over threads.
void copy_bytes(std::byte* to, const std::byte* from, std::int64_t bytes) {
  parallel_rows(bytes, 256 * 1024, 1, [&](std::int64_t begin, std::int64_t end) {
    std::memmove(to + begin, from + begin, static_cast<std::size_t>(end - begin));
  });
}

/// Calls f(T{}) with the C++ type of any dtype.
template <class F>
void dispatch_any(DType dtype, F&& f) {
  switch (dtype) {
    case DType::i64:
      return f(std::int64_t{});
    case DType::i32:
      return f(std::int32_t{});
    case DType::u8:
      return f(std::uint8_t{});
    default:
      return cpu::dispatch_floating(dtype, "fill", f);
  }
}

struct RowTable {
  std::int64_t rows = 0;        ///< R: rows moved
  std::int64_t table_rows = 0;  /// N: rows of the indexed tensor
  std::int64_t width = 0;       ///< D: elements a row
};

/// Shapes of table_ND, rows_RD and ids_R, checked.
RowTable row_table(std::string_view op, const Tensor& table_ND, const Tensor& rows_RD, const Tensor& ids_R) {
  RowTable t{ids_R.numel(), table_ND.shape().flat_rows(), table_ND.shape().back()};
  require(ids_R.dtype() == DType::i32, op, "i32 ids", ids_R);
  require(rows_RD.shape().back() == t.width, op, "rows of one width", table_ND, rows_RD);
  require(rows_RD.shape().flat_rows() == t.rows, op, "one id a row", rows_RD, ids_R);
  return t;
}

struct Columns {
  std::int64_t rows = 0;
  std::size_t a_bytes = 0, b_bytes = 0;  ///< in a row
};

Columns columns(std::string_view op, const Tensor& whole, const Tensor& a, const Tensor& b) {
  require(a.dtype() == whole.dtype() && b.dtype() == whole.dtype(), op, "operands of one type", a, b);
  require(
      a.shape().back() + b.shape().back() == whole.shape().back(), op,
      [&] { return "widths that add up to " + std::to_string(whole.shape().back()); }, a, b);
  const Columns c{whole.shape().flat_rows(), static_cast<std::size_t>(a.shape().back()) * size_bytes(a.dtype()),
                  static_cast<std::size_t>(b.shape().back()) * size_bytes(b.dtype())};
  require(
      a.shape().flat_rows() == c.rows && b.shape().flat_rows() == c.rows, op,
      [&] { return std::to_string(c.rows) + " rows everywhere"; }, a, b);
  return c;
}

}  // namespace

void CpuBackend::upload(Tensor dst, std::span<const std::byte> host, Stream& stream) {
  require(
      host.size() == dst.bytes(), "upload", [&] { return std::to_string(host.size()) + " host bytes to fit"; }, dst);
  if (stream.runs_at_once()) {
    copy_bytes(dst.unsafe_data(), host.data(), static_cast<std::int64_t>(host.size()));
    return;
  }
  // The caller may reuse its bytes before the stream gets here.
  stream.enqueue_host([dst, kept = std::vector<std::byte>(host.begin(), host.end())] {
    copy_bytes(dst.unsafe_data(), kept.data(), static_cast<std::int64_t>(kept.size()));
  });
}

void CpuBackend::download(std::span<std::byte> host, const Tensor& src, Stream& stream) {
  require(
      host.size() == src.bytes(), "download", [&] { return std::to_string(host.size()) + " host bytes to fit"; }, src);
  run_on(stream, [=] { copy_bytes(host.data(), src.unsafe_data(), static_cast<std::int64_t>(host.size())); });
}

void CpuBackend::copy(Tensor dst, const Tensor& src, Stream& stream) {
  require(dst.numel() == src.numel(), "copy", "as many elements on both sides", dst, src);
  if (dst.dtype() == src.dtype()) {
    run_on(stream, [=] { copy_bytes(dst.unsafe_data(), src.unsafe_data(), static_cast<std::int64_t>(src.bytes())); });
    return;
  }
  cpu::dispatch_floating(dst.dtype(), "copy", [&](auto to_type) {
    cpu::dispatch_floating(src.dtype(), "copy", [&](auto from_type) {
      using To = decltype(to_type);
      using From = decltype(from_type);
      run_on(stream, [=] {
        To* to = data<To>(dst);
        const From* from = data<From>(src);
        parallel_rows(src.numel(), kPieceElements, sizeof(To) + sizeof(From),
                      [&](std::int64_t begin, std::int64_t end) {
#pragma omp simd
                        for (std::int64_t i = begin; i < end; ++i)
                          cpu::put(to[i], static_cast<cpu::acc_t<To>>(cpu::load(from[i])));
                      });
      });
    });
  });
}

void CpuBackend::fill(Tensor dst, double value, Stream& stream) {
  dispatch_any(dst.dtype(), [&](auto type) {
    using T = decltype(type);
    run_on(stream, [=] {
      T* to = data<T>(dst);
      T element{};
      if constexpr (std::is_same_v<T, bf16>)
        element = bf16(static_cast<float>(value));
      else
        element = static_cast<T>(value);
      parallel_rows(dst.numel(), kPieceElements, sizeof(T),
                    [&](std::int64_t begin, std::int64_t end) { std::fill(to + begin, to + end, element); });
    });
  });
}

void CpuBackend::fill_normal(Tensor dst, double std, std::uint64_t seed, const ShardSpec& spec, Stream& stream) {
  require(dst.shape() == spec.extent, "fill_normal", "the extent of " + spec.name + ", " + spec.extent.to_string(),
          dst);
  require(spec.global.ndim() == spec.extent.ndim() && spec.offset.ndim() == spec.extent.ndim(), "fill_normal",
          "offset and extent within " + spec.name + " " + spec.global.to_string(), dst);
  const Philox random(seed, RandomPurpose::weight_init, stable_hash(spec.name));
  const Box box = spec.box();
  const Shape global = spec.global;
  cpu::dispatch_floating(dst.dtype(), "fill_normal", [&](auto type) {
    using T = decltype(type);
    run_on(stream, [=] {
      T* to = data<T>(dst);
      const std::int64_t width = box.extent.back(), ndim = box.extent.ndim();
      const auto draw = [&](double normal) { return cpu::store<T>(static_cast<cpu::acc_t<T>>(std * normal)); };
      parallel_rows(box.extent.flat_rows(), 1, width * 64, [&](std::int64_t row, std::int64_t) {
        // Row-major number of the row's first element in the whole tensor.
        std::int64_t first = ndim == 0 ? 0 : box.offset[static_cast<int>(ndim - 1)], rest = row, stride = global.back();
        for (int d = static_cast<int>(ndim) - 2; d >= 0; --d) {
          first += (box.offset[d] + rest % box.extent[d]) * stride;
          rest /= box.extent[d];
          stride *= global[d];
        }
        T* out = to + row * width;
        const auto begin = static_cast<std::uint64_t>(first), end = begin + static_cast<std::uint64_t>(width);
        for (std::uint64_t pair = begin / 2; 2 * pair < end; ++pair) {
          const auto normals = random.normal_pair(pair);
          if (2 * pair >= begin) out[2 * pair - begin] = draw(normals[0]);
          if (2 * pair + 1 < end) out[2 * pair + 1 - begin] = draw(normals[1]);
        }
      });
    });
  });
}

void CpuBackend::gather_rows(Tensor dst_RD, const Tensor& src_ND, const Tensor& ids_R, Stream& stream) {
  const RowTable t = row_table("gather_rows", src_ND, dst_RD, ids_R);
  require(dst_RD.dtype() == src_ND.dtype(), "gather_rows", "operands of one type", dst_RD, src_ND);
  run_on(stream, [=] {
    const auto* ids = data<std::int32_t>(ids_R);
    cpu::require_ids("gather_rows", ids, t.rows, t.table_rows, -1);
    const auto bytes = static_cast<std::int64_t>(size_bytes(src_ND.dtype())) * t.width;
    std::byte* to = dst_RD.unsafe_data();
    const std::byte* from = src_ND.unsafe_data();
    parallel_rows(t.rows, 16, 2 * bytes, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t r = begin; r < end; ++r)
        if (ids[r] >= 0)
          std::memcpy(to + r * bytes, from + ids[r] * bytes, static_cast<std::size_t>(bytes));
        else
          std::memset(to + r * bytes, 0, static_cast<std::size_t>(bytes));
    });
  });
}

void CpuBackend::scatter_rows(Tensor dst_ND, const Tensor& src_RD, const Tensor& ids_R, Stream& stream) {
  const RowTable t = row_table("scatter_rows", dst_ND, src_RD, ids_R);
  require(dst_ND.dtype() == src_RD.dtype(), "scatter_rows", "operands of one type", dst_ND, src_RD);
  run_on(stream, [=] {
    const auto* ids = data<std::int32_t>(ids_R);
    cpu::require_ids("scatter_rows", ids, t.rows, t.table_rows, -1);
    const auto bytes = static_cast<std::int64_t>(size_bytes(src_RD.dtype())) * t.width;
    std::byte* to = dst_ND.unsafe_data();
    const std::byte* from = src_RD.unsafe_data();
    parallel_rows(t.rows, 16, 2 * bytes, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t r = begin; r < end; ++r)
        if (ids[r] >= 0) std::memcpy(to + ids[r] * bytes, from + r * bytes, static_cast<std::size_t>(bytes));
    });
  });
}

void CpuBackend::scatter_add_rows(Tensor dst_ND, const Tensor& src_RD, const Tensor& ids_R, Stream& stream) {
  const RowTable t = row_table("scatter_add_rows", dst_ND, src_RD, ids_R);
  require(dst_ND.dtype() == accumulation_dtype(src_RD.dtype()), "scatter_add_rows",
          "a destination of the accumulation type", dst_ND, src_RD);
  cpu::dispatch_floating(src_RD.dtype(), "scatter_add_rows", [&](auto type) {
    using T = decltype(type);
    using Acc = cpu::acc_t<T>;
    run_on(stream, [=] {
      const auto* ids = data<std::int32_t>(ids_R);
      cpu::require_ids("scatter_add_rows", ids, t.rows, t.table_rows, -1);
      Acc* to = data<Acc>(dst_ND);
      const T* from = data<T>(src_RD);
      // A thread owns the table rows that are its number modulo the threads; each sums in the order of r.
      const bool worth = t.rows * t.width >= 32 * 1024;
#pragma omp parallel if (worth)
      {
        const int threads = omp_get_num_threads(), me = omp_get_thread_num();
        for (std::int64_t r = 0; r < t.rows; ++r) {
          if (ids[r] < 0 || ids[r] % threads != me) continue;
          Acc* sum = to + ids[r] * t.width;
          const T* row = from + r * t.width;
#pragma omp simd
          for (std::int64_t i = 0; i < t.width; ++i) sum[i] += cpu::load(row[i]);
        }
      }
    });
  });
}

void CpuBackend::local_ids(Tensor out_R, const Tensor& ids_R, std::int64_t begin, std::int64_t count, Stream& stream) {
  require(out_R.dtype() == DType::i32 && ids_R.dtype() == DType::i32 && out_R.numel() == ids_R.numel(), "local_ids",
          "i32 ids, as many out as in", out_R, ids_R);
  run_on(stream, [=] {
    const auto* ids = data<std::int32_t>(ids_R);
    auto* out = data<std::int32_t>(out_R);
    for (std::int64_t r = 0; r < ids_R.numel(); ++r) {
      const std::int64_t local = ids[r] - begin;
      out[r] = local >= 0 && local < count ? static_cast<std::int32_t>(local) : -1;
    }
  });
}

void CpuBackend::concat_columns(Tensor out, const Tensor& a, const Tensor& b, Stream& stream) {
  const Columns c = columns("concat_columns", out, a, b);
  run_on(stream, [=] {
    std::byte* to = out.unsafe_data();
    const std::byte *from_a = a.unsafe_data(), *from_b = b.unsafe_data();
    const std::size_t both = c.a_bytes + c.b_bytes;
    parallel_rows(c.rows, 16, static_cast<std::int64_t>(2 * both), [&](std::int64_t begin, std::int64_t end) {
      for (auto r = static_cast<std::size_t>(begin); r < static_cast<std::size_t>(end); ++r) {
        std::memcpy(to + r * both, from_a + r * c.a_bytes, c.a_bytes);
        std::memcpy(to + r * both + c.a_bytes, from_b + r * c.b_bytes, c.b_bytes);
      }
    });
  });
}

void CpuBackend::split_columns(Tensor a, Tensor b, const Tensor& in, Stream& stream) {
  const Columns c = columns("split_columns", in, a, b);
  run_on(stream, [=] {
    std::byte *to_a = a.unsafe_data(), *to_b = b.unsafe_data();
    const std::byte* from = in.unsafe_data();
    const std::size_t both = c.a_bytes + c.b_bytes;
    parallel_rows(c.rows, 16, static_cast<std::int64_t>(2 * both), [&](std::int64_t begin, std::int64_t end) {
      for (auto r = static_cast<std::size_t>(begin); r < static_cast<std::size_t>(end); ++r) {
        std::memcpy(to_a + r * c.a_bytes, from + r * both, c.a_bytes);
        std::memcpy(to_b + r * c.b_bytes, from + r * both + c.a_bytes, c.b_bytes);
      }
    });
  });
}

}  // namespace athanor
