// The rules of the house on the real tree, and each rule on a small tree that breaks it.
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>

#include "tests/structure/source_tree.hpp"

namespace athanor::structure {
namespace {
namespace fs = std::filesystem;

const fs::path kRoot = ATHANOR_SOURCE_DIR;

/// A folder that exists while the object does.
class ScratchTree {
 public:
  ScratchTree() {
    std::string pattern = (fs::temp_directory_path() / "athanor_tree_XXXXXX").string();
    if (mkdtemp(pattern.data()) == nullptr) throw std::runtime_error("no scratch folder at " + pattern);
    root_ = pattern;
  }
  ~ScratchTree() {
    std::error_code ignored;
    fs::remove_all(root_, ignored);
  }
  void write(const std::string& path, const std::string& text) {
    fs::create_directories((root_ / path).parent_path());
    std::ofstream(root_ / path) << text;
  }
  const fs::path& root() const { return root_; }

 private:
  fs::path root_;
};

void expect_none(const Violations& violations) {
  EXPECT_TRUE(violations.empty()) << fmt::format("{}", fmt::join(violations, "\n"));
}

// No floor includes a floor above it.
TEST(Structure, IncludesPointDown) { expect_none(upward_includes(kRoot)); }

// MPI, NCCL, HDF5, Boost, oneDNN and CUDA stay in the folders that wrap them.
TEST(Structure, ForeignHeadersStayWrapped) { expect_none(foreign_includes(kRoot)); }

// Host code never looks into tensor memory.
TEST(Structure, TensorMemoryBelongsToOperations) { expect_none(stray_unsafe_data(kRoot)); }

// Headers are guarded; files stay small enough to read.
TEST(Structure, FilesKeepTheirForm) { expect_none(file_forms(kRoot)); }

// The top level holds the four floors, configs, tests and nothing else.
TEST(Structure, TopLevelIsClean) { expect_none(top_level(kRoot)); }

// A README is read in a minute.
TEST(Structure, ReadmesAreShort) { expect_none(long_readmes(kRoot)); }

// Each rule finds its breach, and names file and line.
TEST(StructureRules, FindBreaches) {
  ScratchTree tree;
  tree.write("src/nn/a.hpp", "#pragma once\n#include \"src/base/error.hpp\"\n#include \"parallel/mesh.hpp\"\n");
  tree.write("src/nn/b.cpp", "#include <mpi.h>\n#include <vector>\n");
  tree.write("io/c.cpp", "#include \"c.hpp\"\n  auto* p = tensor.unsafe_data();\n");
  tree.write("io/d.hpp", "int x;\n");
  tree.write("io/README.md", std::string(61, '\n'));
  tree.write("notes.txt", "");

  EXPECT_EQ(upward_includes(tree.root()), (Violations{"io/c.cpp:1: \"c.hpp\" is no path from the root",
                                                      "src/nn/a.hpp:3: src must not include parallel/mesh.hpp"}));
  EXPECT_EQ(foreign_includes(tree.root()), Violations{"src/nn/b.cpp:1: <mpi.h> does not belong here"});
  EXPECT_EQ(stray_unsafe_data(tree.root()), Violations{"io/c.cpp:2: unsafe_data outside operations and communicators"});
  EXPECT_EQ(file_forms(tree.root()), Violations{"io/d.hpp:1: a header without #pragma once"});
  EXPECT_EQ(top_level(tree.root()), Violations{"notes.txt: does not belong to the top level"});
  EXPECT_EQ(long_readmes(tree.root()), Violations{"io/README.md: 61 lines, at most 60"});
}

// A tree that obeys has no violations.
TEST(StructureRules, AcceptAnObedientTree) {
  ScratchTree tree;
  tree.write("jobs/main.cpp", "#include \"io/x.hpp\"\n#include <boost_like.h>\n");
  tree.write("parallel/mpi/group.cpp", "#include <mpi.h>\nauto* p = t.unsafe_data();\n");
  tree.write("README.md", "");

  EXPECT_TRUE(upward_includes(tree.root()).empty());
  EXPECT_TRUE(foreign_includes(tree.root()).empty());
  EXPECT_TRUE(stray_unsafe_data(tree.root()).empty());
  EXPECT_TRUE(top_level(tree.root()).empty());
}

}  // namespace
}  // namespace athanor::structure
