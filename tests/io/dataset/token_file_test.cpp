#include "io/dataset/token_file.hpp"

#include "io/dataset/prepare_parts.hpp"
#include "tests/io/dataset/dataset_fixture.hpp"

namespace athanor {
namespace {
using namespace athanor::testing;

class TokenFileTest : public ::testing::Test {
 protected:
  ScratchFolder folder_;
  const std::string path_ = folder_ / "tokens.h5";
};

// What was written comes back: tokens anywhere, document ends, all that the file says of itself.
TEST_F(TokenFileTest, WriteAndRead) {
  const auto file = make_token_file(path_, {5, 7, 1});
  std::vector<std::int32_t> tokens(4);
  file->read_tokens(3, tokens);
  EXPECT_EQ(tokens, (std::vector<std::int32_t>{3, 257, 5, 6}));
  EXPECT_EQ(file->document_end(0), 5);
  EXPECT_EQ(file->document_end(1), 12);
  EXPECT_EQ(file->document_end(2), 13);
  EXPECT_EQ(file->info().num_tokens, 13);
  EXPECT_EQ(file->info().tokenizer, "byte");
  EXPECT_EQ(file->info().origin, "made for a test");
  EXPECT_EQ(file->info().checksum.size(), 32U);
  file->verify();
  EXPECT_THROW(file->read_tokens(10, tokens), Error);
  EXPECT_THROW(file->document_end(3), Error);
  EXPECT_NO_THROW(check_tokenizer(*file, ByteTokenizer()));
}

// A file cut anywhere is refused with the sizes wanted and found.
TEST_F(TokenFileTest, CutShort) {
  make_token_file(path_, {50000, 50000});
  const std::string whole = text_of(path_);
  for (const std::size_t size : {whole.size() - 1, whole.size() / 2, std::size_t{100}}) {
    const std::string cut = folder_.write("cut.h5", whole.substr(0, size));
    EXPECT_CONTAINS(
        message_of<DataError>([&] { TokenFile file(cut); }),
        cut + ": cut short: wanted " + std::to_string(whole.size()) + " bytes, found " + std::to_string(size));
  }
  const std::string empty = folder_.write("empty.h5", "");
  EXPECT_CONTAINS(message_of<DataError>([&] { TokenFile file(empty); }), empty + ": no token file");
}

// A changed token or document end is found by verify(), and named.
TEST_F(TokenFileTest, FlippedByte) {
  make_token_file(path_, {50000, 50000});
  std::string bytes = text_of(path_);
  const std::int32_t pattern[] = {10, 11, 12, 13, 14, 15};
  const std::size_t place = bytes.find(std::string(reinterpret_cast<const char*>(pattern), sizeof pattern));
  ASSERT_NE(place, std::string::npos);
  bytes[place] = static_cast<char>(bytes[place] ^ 1);
  const std::string flipped = folder_.write("flipped.h5", bytes);
  const TokenFile file(flipped);
  EXPECT_CONTAINS(message_of<DataError>([&] { file.verify(); }), flipped + ": its tokens have checksum");
}

// What is no token file says so: text, an HDF5 file of something else, no file.
TEST_F(TokenFileTest, NoTokenFile) {
  const std::string text = folder_.write("a.h5", std::string(1000, 'x'));
  EXPECT_CONTAINS(message_of<DataError>([&] { TokenFile file(text); }), text + ": no token file (no HDF5 signature");
  {
    hdf5::File other = hdf5::File::create(folder_ / "other.h5");
    other.write_text("/note", "hello");
  }
  EXPECT_CONTAINS(message_of<DataError>([&] { TokenFile file(folder_ / "other.h5"); }),
                  "/tokens or /document_ends is missing");
  EXPECT_CONTAINS(message_of<ConfigError>([&] { TokenFile file(folder_ / "none.h5"); }), "none.h5: cannot be opened");
}

// A writer that was promised more than it got says so instead of leaving a file of zeros.
TEST_F(TokenFileTest, PromisesAreKept) {
  TokenFileInfo info;
  info.num_tokens = 3;
  info.num_documents = 1;
  TokenFileWriter writer(path_, info);
  writer.append_tokens(std::vector<std::int32_t>{1, 2});
  EXPECT_CONTAINS(message_of<DataError>([&] { writer.finish(); }),
                  "3 tokens and 1 documents were promised, 2 and 0 written");
}

// Another tokenizer than the file's is the user's to mend.
TEST_F(TokenFileTest, OtherTokenizer) {
  TokenFileInfo info;
  info.tokenizer = "bpe";
  info.tokenizer_hash = 5;
  { TokenFileWriter(path_, info).finish(); }
  EXPECT_CONTAINS(message_of<ConfigError>([&] { check_tokenizer(TokenFile(path_), ByteTokenizer()); }),
                  path_ + ": made with another tokenizer (bpe");
}

// A new folder of parts holds nothing of an old one, least of all its mark of failure.
TEST_F(TokenFileTest, FolderOfPartsStartsEmpty) {
  const PrepareFolder folder(path_);
  folder.make();
  folder.mark_failed();
  EXPECT_TRUE(folder.is_marked_failed());
  folder.make();
  EXPECT_FALSE(folder.is_marked_failed());
  folder.remove();
  EXPECT_FALSE(std::filesystem::exists(path_ + ".tmp"));
}

// The held-out part is the last fraction, cut at the document end nearest to it.
TEST_F(TokenFileTest, HeldOutEndsAtADocument) {
  const auto split = split_held_out(make_token_file(path_, {40, 30, 18, 12}), 0.1);
  EXPECT_EQ(split.train.num_tokens(), 88);
  EXPECT_EQ(split.held_out.begin(), 88);
  EXPECT_EQ(split.held_out.num_tokens(), 12);
  const auto larger = split_held_out(make_token_file(path_, {40, 30, 18, 12}), 0.25);
  EXPECT_EQ(larger.train.num_tokens(), 70);
}

// One document, or documents too long to meet the fraction half-way, are cut inside; fraction 0 holds nothing out.
TEST_F(TokenFileTest, HeldOutCutsLongDocuments) {
  EXPECT_EQ(split_held_out(make_token_file(path_, {1000}), 0.1).train.num_tokens(), 900);
  EXPECT_EQ(split_held_out(make_token_file(path_, {10, 980, 10}), 0.1).train.num_tokens(), 900);
  const auto none = split_held_out(make_token_file(path_, {500, 500}), 0.0);
  EXPECT_EQ(none.train.num_tokens(), 1000);
  EXPECT_EQ(none.held_out.num_tokens(), 0);
  EXPECT_THROW(split_held_out(make_token_file(path_, {500}), 1.0), ConfigError);
}

}  // namespace
}  // namespace athanor
