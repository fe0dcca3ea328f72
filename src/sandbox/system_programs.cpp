#include "src/sandbox/system_programs.hpp"

#include <unistd.h>

#include <initializer_list>

namespace athanor {
namespace {

std::string find(std::initializer_list<const char*> names) {
  for (const char* name : names)
    for (const char* folder : {"/usr/bin/", "/usr/local/bin/"})
      if (const std::string path = std::string(folder) + name; access(path.c_str(), X_OK) == 0) return path;
  return "";
}

}  // namespace

std::string bubblewrap_path() { return find({"bwrap"}); }
std::string python_path() { return find({"python3"}); }
std::string cpp_compiler_path() { return find({"g++", "c++", "clang++"}); }

}  // namespace athanor
