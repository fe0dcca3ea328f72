#include "src/base/dtype.hpp"

#include <array>
#include <string>
#include <utility>

#include "src/base/error.hpp"

namespace athanor {
namespace {
constexpr std::array<std::pair<DType, std::string_view>, 6> kNames{{{DType::f64, "f64"},
                                                                    {DType::f32, "f32"},
                                                                    {DType::bf16, "bf16"},
                                                                    {DType::i64, "i64"},
                                                                    {DType::i32, "i32"},
                                                                    {DType::u8, "u8"}}};
}  // namespace

std::string_view to_string(DType dtype) {
  for (const auto& [value, name] : kNames)
    if (value == dtype) return name;
  return "unknown";
}

DType dtype_from_string(std::string_view text) {
  for (const auto& [value, name] : kNames)
    if (name == text) return value;
  throw ConfigError("dtype: '" + std::string(text) + "' is not one of f64, f32, bf16, i64, i32, u8");
}

}  // namespace athanor
