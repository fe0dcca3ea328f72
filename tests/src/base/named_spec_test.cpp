// Specs as users write them: names, subjects, options in both forms, weights, and what is said about mistakes.
#include "src/base/named_spec.hpp"

#include <gtest/gtest.h>

#include "src/base/error.hpp"

namespace athanor {
namespace {

using Options = std::map<std::string, std::string>;

// Options behind colons, a weight, blanks anywhere.
TEST(NamedSpec, ReadsOptionsBehindColons) {
  const NamedSpec spec = parse_named_spec(" cosine : max_len = 200:compat=open_r1 @ 0.5 ", "reward");
  EXPECT_EQ(spec.name, "cosine");
  EXPECT_EQ(spec.subject, "");
  EXPECT_EQ(spec.options, (Options{{"max_len", "200"}, {"compat", "open_r1"}}));
  EXPECT_EQ(spec.weight, 0.5);
}

// A subject, options in parentheses, a file name with '@' and values with ':' in them.
TEST(NamedSpec, ReadsOptionsInParentheses) {
  const NamedSpec spec = parse_named_spec("jsonl:data/a@b.jsonl(name=gsm8k, held_out=c:d.jsonl) @ 2", "task");
  EXPECT_EQ(spec.name, "jsonl");
  EXPECT_EQ(spec.subject, "data/a@b.jsonl");
  EXPECT_EQ(spec.options, (Options{{"name", "gsm8k"}, {"held_out", "c:d.jsonl"}}));
  EXPECT_EQ(spec.weight, 2.0);
  EXPECT_EQ(parse_named_spec("jsonl:x.jsonl:name=n", "task").options, (Options{{"name", "n"}}));
}

// Commas inside parentheses do not separate specs.
TEST(NamedSpec, SeparatesByCommasOutsideParentheses) {
  const auto specs = parse_named_specs("arithmetic:level=2 @ 3, jsonl:f(name=a, language=en), digits", "task");
  ASSERT_EQ(specs.size(), 3U);
  EXPECT_EQ(specs[0].weight, 3.0);
  EXPECT_EQ(specs[1].options.size(), 2U);
  EXPECT_EQ(specs[2].name, "digits");
}

// Mistakes are named; a subject nobody asks for is one.
TEST(NamedSpec, RefusesMistakes) {
  for (const auto& [text, wanted] : std::vector<std::pair<const char*, const char*>>{{"", "no name"},
                                                                                     {":a=1", "no name"},
                                                                                     {"a:b=1:c", "'c' is no option"},
                                                                                     {"a(b)", "'b' is no option"},
                                                                                     {"a(b=1", "parentheses"},
                                                                                     {"a b=1)", "parentheses"},
                                                                                     {"a(b=1):c=2", "parentheses"},
                                                                                     {"a:b=1(b=2)", "given twice"},
                                                                                     {"a @ x", "no weight"},
                                                                                     {"a @ inf", "no weight"}})
    try {
      parse_named_spec(text, "task");
      ADD_FAILURE() << text;
    } catch (const ConfigError& error) {
      EXPECT_NE(std::string(error.what()).find(wanted), std::string::npos) << text << ": " << error.what();
    }
  const NamedSpec spec = parse_named_spec("arithmetic:4", "task");
  EXPECT_THROW(SpecOptions(spec, "task").finish(), ConfigError);
  EXPECT_THROW(SpecOptions(parse_named_spec("jsonl", "task"), "task").subject("FILE"), ConfigError);
}

}  // namespace
}  // namespace athanor
