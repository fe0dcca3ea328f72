#include "src/reward/countdown.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <numeric>

#include "src/reward/answer_extraction.hpp"

namespace athanor {
namespace {

constexpr std::size_t kLongestExpression = 1024;
constexpr int kDeepestNesting = 64;

struct Fraction {
  std::int64_t numerator = 0, denominator = 1;  ///< denominator > 0, no common factor
};

/// nullopt on overflow or a denominator of zero.
std::optional<Fraction> make_fraction(std::int64_t numerator, std::int64_t denominator) {
  if (denominator == 0 || numerator == INT64_MIN || denominator == INT64_MIN) return std::nullopt;
  const std::int64_t factor = std::gcd(numerator, denominator) * (denominator < 0 ? -1 : 1);
  return Fraction{numerator / factor, denominator / factor};
}

std::optional<Fraction> combine(char operation, Fraction a, Fraction b) {
  std::int64_t x = 0, y = 0, numerator = 0, denominator = 0;
  if (operation == '/') {
    if (__builtin_mul_overflow(a.numerator, b.denominator, &numerator) ||
        __builtin_mul_overflow(a.denominator, b.numerator, &denominator))
      return std::nullopt;
    return make_fraction(numerator, denominator);
  }
  if (__builtin_mul_overflow(a.denominator, b.denominator, &denominator)) return std::nullopt;
  if (operation == '*') {
    if (__builtin_mul_overflow(a.numerator, b.numerator, &numerator)) return std::nullopt;
    return make_fraction(numerator, denominator);
  }
  if (__builtin_mul_overflow(a.numerator, b.denominator, &x) || __builtin_mul_overflow(b.numerator, a.denominator, &y))
    return std::nullopt;
  const bool overflow =
      operation == '+' ? __builtin_add_overflow(x, y, &numerator) : __builtin_sub_overflow(x, y, &numerator);
  return overflow ? std::nullopt : make_fraction(numerator, denominator);
}

/// Recursive descent: sum = product {(+|-) product}, product = factor {(*|/) factor}, factor = [-] (number | ( sum )).
class Expression {
 public:
  explicit Expression(std::string_view text) : text_(text) {}

  std::optional<Fraction> value() {
    const auto whole = sum(0);
    return next() == '\0' && position_ == text_.size() ? whole : std::nullopt;
  }
  /// The numbers met, in order.
  const std::vector<std::int64_t>& numbers() const { return numbers_; }

 private:
  char next() {
    while (position_ < text_.size() && (text_[position_] == ' ' || text_[position_] == '\n')) ++position_;
    return position_ < text_.size() ? text_[position_] : '\0';
  }

  std::optional<Fraction> sum(int depth) {
    auto left = product(depth);
    while (left && (next() == '+' || next() == '-')) {
      const char operation = text_[position_++];
      const auto right = product(depth);
      left = right ? combine(operation, *left, *right) : std::nullopt;
    }
    return left;
  }

  std::optional<Fraction> product(int depth) {
    auto left = factor(depth, true);
    while (left && (next() == '*' || next() == '/')) {
      const char operation = text_[position_++];
      const auto right = factor(depth, false);
      left = right ? combine(operation, *left, *right) : std::nullopt;
    }
    return left;
  }

  std::optional<Fraction> factor(int depth, bool may_have_sign) {
    if (next() == '-' && may_have_sign) {
      ++position_;
      const auto positive = factor(depth, false);
      return positive ? combine('-', Fraction{}, *positive) : std::nullopt;
    }
    if (next() == '(') {
      if (depth == kDeepestNesting) return std::nullopt;
      ++position_;
      const auto inner = sum(depth + 1);
      if (!inner || next() != ')') return std::nullopt;
      ++position_;
      return inner;
    }
    if (next() < '0' || next() > '9') return std::nullopt;
    std::int64_t number = 0;
    const char* begin = text_.data() + position_;
    const auto [end, error] = std::from_chars(begin, text_.data() + text_.size(), number);
    if (error != std::errc()) return std::nullopt;
    position_ += static_cast<std::size_t>(end - begin);
    numbers_.push_back(number);
    return Fraction{number, 1};
  }

  const std::string_view text_;
  std::size_t position_ = 0;
  std::vector<std::int64_t> numbers_;
};

bool take_number(std::string_view& text, std::int64_t& number) {
  text = trimmed_text(text);
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc()) return false;
  text.remove_prefix(static_cast<std::size_t>(end - text.data()));
  return text.empty() || text.front() == ' ';
}

}  // namespace

std::optional<CountdownProblem> parse_countdown(std::string_view reference) {
  constexpr std::string_view kFrom = "from ";
  CountdownProblem problem;
  if (!take_number(reference, problem.target)) return std::nullopt;
  reference = trimmed_text(reference);
  if (!reference.starts_with(kFrom)) return std::nullopt;
  reference.remove_prefix(kFrom.size());
  while (!reference.empty())
    if (!take_number(reference, problem.numbers.emplace_back())) return std::nullopt;
  return problem;
}

std::string countdown_text(const CountdownProblem& problem) {
  return fmt::format("{} from {}", problem.target, fmt::join(problem.numbers, " "));
}

std::optional<CountdownVerdict> judge_countdown(const RewardSample& sample) {
  const auto problem = parse_countdown(sample.answer);
  if (!problem) return std::nullopt;
  const auto answer = extract_answer(sample);
  if (!answer) return CountdownVerdict::no_answer;
  return reaches_target(*answer, *problem) ? CountdownVerdict::right : CountdownVerdict::wrong;
}

bool reaches_target(std::string_view expression, const CountdownProblem& problem) {
  if (expression.size() > kLongestExpression) return false;
  Expression parsed(expression);
  const auto value = parsed.value();
  return value && value->denominator == 1 && value->numerator == problem.target &&
         std::is_permutation(parsed.numbers().begin(), parsed.numbers().end(), problem.numbers.begin(),
                             problem.numbers.end());
}

}  // namespace athanor
