#include "io/dataset/document_reader.hpp"

#include "tests/io/dataset/dataset_fixture.hpp"

namespace athanor {
namespace {
using namespace athanor::testing;
using Texts = std::vector<std::string>;

class DocumentReaderTest : public ::testing::Test {
 protected:
  Texts read(const std::string& path, const TextFormat& format, std::int64_t range_bytes = 1 << 30) {
    Texts texts;
    const std::vector<TextSource> sources{find_text_source(path)};
    for (const ByteRange& range : cut_into_ranges(sources, format, range_bytes)) {
      DocumentReader reader(sources[0], format, range);
      Document document;
      while (reader.next(document)) {
        texts.push_back(document.text);
        offsets_.push_back(document.offset);
      }
      num_skipped_ += reader.num_skipped();
    }
    return texts;
  }
  ScratchFolder folder_;
  std::vector<std::int64_t> offsets_;
  std::int64_t num_skipped_ = 0;
};

// Without a separator a .txt is one document, whatever is in it; a byte order mark is none of it.
TEST_F(DocumentReaderTest, WholeTextFile) {
  EXPECT_EQ(read(folder_.write("a.txt", "one\n\ntwo 你好\n"), {}), Texts{"one\n\ntwo 你好\n"});
  EXPECT_EQ(read(folder_.write("b.txt", "\xEF\xBB\xBFone"), {}), Texts{"one"});
  EXPECT_EQ(read(folder_.write("c.txt", ""), {}), Texts{});
}

// A separator cuts; what is blank is left out and counted, but for the nothing behind a last separator.
TEST_F(DocumentReaderTest, SeparatedTextFile) {
  const std::string path = folder_.write("a.txt", "one<|end|>two\n<|end|> \n<|end|>three<|end|>");
  EXPECT_EQ(read(path, {.separator = "<|end|>"}), (Texts{"one", "two\n", "three"}));
  EXPECT_EQ(offsets_, (std::vector<std::int64_t>{0, 10, 30}));
  EXPECT_EQ(num_skipped_, 1);
}

// Lines of .jsonl give the chosen field; blank lines, CR LF and a last line without a line break are fine.
TEST_F(DocumentReaderTest, JsonLines) {
  const std::string lines =
      "{\"text\": \"one\", \"id\": 1}\r\n\n{\"id\": 2, \"text\": \"two\\n\\u4f60\"}\n{\"text\": \"\"}\n"
      "{\"text\": \"three\"}";
  EXPECT_EQ(read(folder_.write("a.jsonl", lines), {}), (Texts{"one", "two\n你", "three"}));
  EXPECT_EQ(num_skipped_, 1);
  EXPECT_EQ(read(write_gzip(folder_, "b.jsonl.gz", lines), {}), (Texts{"one", "two\n你", "three"}));
  EXPECT_EQ(read(folder_.write("c.jsonl", "{\"question\": \"why?\", \"text\": \"x\"}\n"), {.text_field = "question"}),
            Texts{"why?"});
}

// However a file is cut into ranges, every document comes once and in order; separators may lie across a cut.
TEST_F(DocumentReaderTest, RangesGiveEveryDocumentOnce) {
  std::string text, lines;
  Texts expected;
  for (int i = 0; i < 40; ++i) {
    expected.push_back("document " + std::to_string(i) + std::string(static_cast<std::size_t>(i * 7 % 23), '.'));
    text += (i == 0 ? "" : "<|end|>") + expected.back();
    lines += "{\"text\": \"" + expected.back() + "\"}\n";
  }
  const std::string text_file = folder_.write("a.txt", text), lines_file = folder_.write("a.jsonl", lines);
  for (const std::int64_t range_bytes : {1, 2, 3, 7, 16, 50, 333, 100000}) {
    EXPECT_EQ(read(text_file, {.separator = "<|end|>"}, range_bytes), expected) << range_bytes;
    EXPECT_EQ(read(lines_file, {}, range_bytes), expected) << range_bytes;
  }
}

// Files that cannot be entered in the middle are one range.
TEST_F(DocumentReaderTest, WhatCannotBeCut) {
  const auto ranges = [&](const std::string& path, const TextFormat& format) {
    return cut_into_ranges({find_text_source(path)}, format, 4).size();
  };
  EXPECT_EQ(ranges(folder_.write("a.txt", "one\n\n\ntwo"), {}), 1U);
  EXPECT_EQ(ranges(folder_.write("a.txt", "one\n\n\ntwo"), {.separator = "\n\n"}), 1U);
  EXPECT_EQ(ranges(write_gzip(folder_, "a.jsonl.gz", "{\"text\": \"one\"}\n"), {}), 1U);
  EXPECT_EQ(ranges(folder_.write("a.txt", "one--|two"), {.separator = "--|"}), 3U);
}

// Documents longer than the read buffer, and many of them, come whole.
TEST_F(DocumentReaderTest, LongDocuments) {
  const Texts expected{std::string(3 << 20, 'a'), "b", std::string((2 << 20) + 5, 'c')};
  const std::string path = folder_.write("a.txt", expected[0] + "<>" + expected[1] + "<>" + expected[2]);
  EXPECT_TRUE(read(path, {.separator = "<>"}) == expected);
  EXPECT_TRUE(read(path, {.separator = "<>"}, 1 << 19) == expected);
}

// A separator that lies across the edge of the read buffer is found: from the start of a file, and while a range looks
// for its first document (it reads from two bytes before 2 MiB, one MiB at a time).
TEST_F(DocumentReaderTest, SeparatorAcrossTheReadBuffer) {
  constexpr std::size_t kMiB = 1 << 20;
  for (const std::size_t first : {kMiB - 2, kMiB - 1, kMiB, 3 * kMiB - 4, 3 * kMiB - 3, 3 * kMiB - 2}) {
    const Texts expected{std::string(first, 'a'), std::string(3 * kMiB, 'b'), "c"};
    const std::string path = folder_.write("a.txt", expected[0] + "<>" + expected[1] + "<>" + expected[2]);
    EXPECT_TRUE(read(path, {.separator = "<>"}) == expected) << first;
    EXPECT_TRUE(read(path, {.separator = "<>"}, 2 * kMiB) == expected) << first;
  }
}

// Bytes that are no UTF-8 are one error that names file and offset, or become U+FFFD on request.
TEST_F(DocumentReaderTest, NotUtf8) {
  const std::string text = folder_.write("a.txt", "caf\xE9 au lait");
  EXPECT_CONTAINS(message_of<DataError>([&] { read(text, {}); }), text + ": not UTF-8: byte 0xE9 at offset 3;");
  EXPECT_EQ(read(text, {.replace_invalid = true}), Texts{"caf\uFFFD au lait"});
  const std::string lines = folder_.write("a.jsonl", "{\"text\": \"fine\"}\n{\"text\": \"caf\xE9\"}\n");
  EXPECT_CONTAINS(message_of<DataError>([&] { read(lines, {}); }),
                  lines + ": not UTF-8: byte 0xE9 at offset 30 (line 2 (byte 17));");
  EXPECT_EQ(read(lines, {.replace_invalid = true}), (Texts{"fine", "caf\uFFFD"}));
}

// Broken lines are named by file, line and what was wanted.
TEST_F(DocumentReaderTest, BrokenLines) {
  const auto message = [&](const std::string& second_line, const TextFormat& format = {}) {
    const std::string path = folder_.write("a.jsonl", "{\"text\": \"fine\"}\n" + second_line + "\n");
    return message_of<DataError>([&] { read(path, format, 8); });
  };
  EXPECT_CONTAINS(message("{\"text\": \"un"), "a.jsonl: line 2 (byte 17): parse error");
  EXPECT_CONTAINS(message("[1, 2]"), "line 2 (byte 17): wanted a JSON object, found array");
  EXPECT_CONTAINS(message("{\"body\": 1, \"id\": 2}"), "line 2 (byte 17): no field named text; there are: body, id");
  EXPECT_CONTAINS(message("{\"text\": 7}"), "the field text is number, wanted a text");
  EXPECT_CONTAINS(message("{\"text\": \"\\ud800\"}"), "line 2 (byte 17)");
}

// A gzip file that is cut or damaged is an error, not a short text.
TEST_F(DocumentReaderTest, DamagedGzip) {
  std::string lines;
  for (int i = 0; i < 2000; ++i) lines += "{\"text\": \"number " + std::to_string(i * i) + "\"}\n";
  const std::string whole = text_of(write_gzip(folder_, "a.jsonl.gz", lines));
  const std::string cut = folder_.write("cut.jsonl.gz", whole.substr(0, whole.size() / 2));
  EXPECT_CONTAINS(message_of<DataError>([&] { read(cut, {}); }), cut + ": damaged or cut short");
  std::string flipped = whole;
  flipped[flipped.size() - 6] = static_cast<char>(flipped[flipped.size() - 6] ^ 1);  // in the checksum of the text
  const std::string damaged = folder_.write("flipped.jsonl.gz", flipped);
  EXPECT_CONTAINS(message_of<DataError>([&] { read(damaged, {}); }), damaged + ": damaged or cut short");
}

// Files that are missing or of another kind are the user's to mend.
TEST_F(DocumentReaderTest, UnusableFiles) {
  EXPECT_CONTAINS(message_of<ConfigError>([&] { find_text_source(folder_ / "none.txt"); }), "none.txt: no such file");
  const std::string table = folder_.write("a.csv", "x");
  EXPECT_CONTAINS(message_of<ConfigError>([&] { find_text_source(table); }), table + ": wanted a text file named .txt");
}

}  // namespace
}  // namespace athanor
