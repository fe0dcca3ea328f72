// Runs on 1, 2 and 4 ranks; the expected tokens are worked out here without ranks, so equal to them means equal to each
// other.
#include "io/dataset/prepare.hpp"

#include <cstdlib>

#include "io/dataset/token_file.hpp"
#include "src/text/bpe_trainer.hpp"
#include "tests/io/dataset/dataset_fixture.hpp"

namespace athanor {
namespace {
using namespace athanor::testing;
namespace fs = std::filesystem;

class PrepareTest : public ::testing::Test {
 protected:
  PrepareTest() : folder_("prepare_" + group_.broadcast(std::to_string(getpid()), 0)) { group_.barrier(); }
  ~PrepareTest() override { group_.barrier(); }

  /// Rank 0 writes, all wait.
  std::string shared(const std::string& name, const std::string& content, bool gzip = false) {
    if (group_.rank() == 0) gzip ? write_gzip(folder_, name, content) : folder_.write(name, content);
    group_.barrier();
    return folder_ / name;
  }
  PrepareResult prepare(const PrepareOptions& options) { return prepare_token_file(options, tokenizer_, group_); }

  /// The whole file and what it should hold: every document's tokens and eos.
  void expect_documents(const std::string& path, const std::vector<std::vector<std::int32_t>>& documents) {
    const TokenFile file(path);
    file.verify();
    ASSERT_EQ(file.info().num_documents, static_cast<std::int64_t>(documents.size()));
    std::int64_t begin = 0;
    for (std::size_t d = 0; d < documents.size(); ++d) {
      const std::int64_t end = file.document_end(static_cast<std::int64_t>(d));
      std::vector<std::int32_t> tokens(static_cast<std::size_t>(end - begin));
      file.read_tokens(begin, tokens);
      EXPECT_EQ(tokens, documents[d]) << "document " << d;
      begin = end;
    }
  }
  std::vector<std::int32_t> tokens_of(const std::string& text) const {
    std::vector<std::int32_t> ids = tokenizer_.encode(text);
    ids.push_back(tokenizer_.eos_id());
    return ids;
  }

  HostGroup group_ = HostGroup::world();
  ScratchFolder folder_;
  const ByteTokenizer tokenizer_;
};

// Inputs of every kind in one file, in their order; a field other than `text`; what the file says of itself.
TEST_F(PrepareTest, JoinsInputsInOrder) {
  const PrepareOptions options{
      .inputs = {shared("b.jsonl", "{\"body\": \"one\"}\n\n{\"body\": \"two\"}\n{\"body\": \" \"}\n"),
                 shared("a.txt", "three 你好\n"), shared("c.jsonl.gz", "{\"body\": \"four\"}\n", true)},
      .output = folder_ / "out.h5",
      .format = {.text_field = "body"}};
  const PrepareResult result = prepare(options);
  expect_documents(options.output, {tokens_of("one"), tokens_of("two"), tokens_of("three 你好\n"), tokens_of("four")});
  EXPECT_EQ(result.num_documents, 4);
  EXPECT_EQ(result.num_tokens, 3 + 3 + 13 + 4 + 4);
  EXPECT_EQ(result.text_bytes, 23);
  EXPECT_EQ(result.num_skipped, 1);
  EXPECT_FALSE(fs::exists(options.output + ".tmp"));
  EXPECT_NO_THROW(check_tokenizer(TokenFile(options.output), tokenizer_));
}

/// 26 MB of numbered lines: four byte ranges, so that four ranks have work.
std::string many_lines(std::size_t& count) {
  std::string lines;
  for (count = 0; lines.size() < (26U << 20); ++count)
    lines += "{\"text\": \"" + std::to_string(count) + std::string(20000 + count % 977, 'a') + "\"}\n";
  return lines;
}

// A file of several ranges gives every line once and in order, FIM included, however many ranks share it.
TEST_F(PrepareTest, IsIndependentOfRanks) {
  std::size_t count = 0;
  const std::string lines = many_lines(count);
  const PrepareOptions options{
      .inputs = {shared("a.jsonl", lines)}, .output = folder_ / "out.h5", .fill_in_middle = {.rate = 0.5, .seed = 3}};
  prepare(options);

  std::vector<std::vector<std::int32_t>> expected;
  std::size_t offset = 0, num_cut = 0;
  for (std::size_t i = 0; i < count; ++i) {
    const std::size_t end = lines.find('\n', offset);
    const std::string text = lines.substr(offset + 10, end - offset - 12);
    const auto cuts = choose_cuts(options.fill_in_middle, 0, static_cast<std::int64_t>(offset), text);
    num_cut += cuts ? 1 : 0;
    expected.emplace_back();
    append_document(tokenizer_, text, cuts, expected.back());
    offset = end + 1;
  }
  expect_documents(options.output, expected);
  EXPECT_GT(num_cut, count / 3);
  EXPECT_LT(num_cut, count * 2 / 3);
}

// A file that is up to date is known to be so; another option, tokenizer or input text is noticed.
TEST_F(PrepareTest, KnowsWhatIsPrepared) {
  PrepareOptions options{.inputs = {shared("a.txt", "some text")}, .output = folder_ / "out.h5"};
  EXPECT_FALSE(is_prepared(options, tokenizer_));
  prepare(options);
  EXPECT_TRUE(is_prepared(options, tokenizer_));
  const BpeTokenizer other({default_pre_token_patterns(),
                            [] {
                              std::vector<std::string> bytes;
                              for (int b = 0; b < 256; ++b) bytes.emplace_back(1, static_cast<char>(b));
                              return bytes;
                            }(),
                            {},
                            {{"eos", "<eos>", 256}}});
  EXPECT_FALSE(is_prepared(options, other));
  options.fill_in_middle.seed = 2;
  EXPECT_FALSE(is_prepared(options, tokenizer_));
  options.fill_in_middle.seed = 1;
  group_.barrier();
  shared("a.txt", "some more text");
  EXPECT_FALSE(is_prepared(options, tokenizer_));
}

// One clear error, the same on every rank, and everything as it was: the old output, no folder of parts.
TEST_F(PrepareTest, BadInputLeavesNothingBehind) {
  PrepareOptions options{.inputs = {shared("a.txt", "good")}, .output = folder_ / "out.h5"};
  prepare(options);
  const std::string before = text_of(options.output);
  const auto expect_refused = [&](const std::string& message, const std::string& part) {
    EXPECT_CONTAINS(message, part);
    EXPECT_TRUE(text_of(options.output) == before);
    EXPECT_FALSE(fs::exists(options.output + ".tmp"));
    group_.barrier();
  };

  const std::string latin1 = shared("latin1.txt", "caf\xE9");
  options.inputs = {folder_ / "a.txt", folder_ / "a.txt", latin1, folder_ / "a.txt"};
  expect_refused(message_of<DataError>([&] { prepare(options); }), latin1 + ": not UTF-8: byte 0xE9 at offset 3");
  options.inputs = {shared("empty.txt", " \n")};
  expect_refused(message_of<ConfigError>([&] { prepare(options); }), "no text in " + options.inputs[0]);
  options.inputs = {folder_ / "none.txt"};
  expect_refused(message_of<ConfigError>([&] { prepare(options); }), "none.txt: no such file");
  options.inputs = {};
  expect_refused(message_of<ConfigError>([&] { prepare(options); }), "no input files");
  options.inputs = {shared("other.jsonl", "{\"text\": \"x\"}\n{\"body\": \"y\"}\n")};
  expect_refused(message_of<DataError>([&] { prepare(options); }), "other.jsonl: line 2");
}

// A folder of parts that a killed run left is no hindrance.
TEST_F(PrepareTest, StalePartsAreSweptAway) {
  const PrepareOptions options{.inputs = {shared("a.txt", "good")}, .output = folder_ / "out.h5"};
  if (group_.rank() == 0) {
    fs::create_directories(options.output + ".tmp");
    folder_.write("out.h5.tmp/failed", "");
    folder_.write("out.h5.tmp/tokens.0", "rubbish");
  }
  group_.barrier();
  prepare(options);
  expect_documents(options.output, {tokens_of("good")});
}

// Real files: every problem of GSM8K is a document, in order; HumanEval comes from gzip by its own field; a BPE
// tokenizer gives back the text.
TEST_F(PrepareTest, RealFiles) {
  const char* given = std::getenv("ATHANOR_TEST_DATA");
  const std::string data = given ? given : ATHANOR_SOURCE_DIR "/../shared/data";
  if (!fs::exists(data + "/gsm8k_test.jsonl") || !fs::exists(data + "/HumanEval.jsonl.gz"))
    GTEST_SKIP() << "no gsm8k_test.jsonl and HumanEval.jsonl.gz in " << data << " (set ATHANOR_TEST_DATA)";
  PrepareOptions options{
      .inputs = {data + "/gsm8k_test.jsonl"}, .output = folder_ / "gsm8k.h5", .format = {.text_field = "question"}};
  EXPECT_EQ(prepare(options).num_documents, 1319);
  options = {
      .inputs = {data + "/HumanEval.jsonl.gz"}, .output = folder_ / "code.h5", .format = {.text_field = "prompt"}};
  BpeTrainer trainer({.vocab_size = 400});
  trainer.add(
      "def f(x):\n    return x\n\n\ndef g(x, y):\n    \"\"\" The sum of x and y, where x and y are numbers \"\"\"\n" +
      text_of(data + "/gsm8k_test.jsonl").substr(0, 20000));
  const auto tokenizer = trainer.train();
  const PrepareResult result = prepare_token_file(options, *tokenizer, group_);
  EXPECT_EQ(result.num_documents, 164);
  const TokenFile file(options.output);
  std::vector<std::int32_t> tokens(static_cast<std::size_t>(file.document_end(0)));
  file.read_tokens(0, tokens);
  EXPECT_CONTAINS(tokenizer->decode(tokens), "def has_close_elements(numbers: List[float], threshold: float) -> bool:");
  std::vector<std::int32_t> all(static_cast<std::size_t>(result.num_tokens));
  file.read_tokens(0, all);
  EXPECT_EQ(static_cast<std::int64_t>(tokenizer->decode(all, false).size()), result.text_bytes);
}

}  // namespace
}  // namespace athanor
