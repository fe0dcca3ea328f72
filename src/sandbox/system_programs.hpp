// The programs of the machine the sandbox needs. Law: looked for in /usr/bin, then /usr/local/bin, alone: a program in
// the sandbox sees nothing else, and nobody's PATH decides what builds the walls.
#pragma once

#include <string>

namespace athanor {

/// Each gives the whole path, or "" where this machine has none.
std::string bubblewrap_path();
std::string python_path();
std::string cpp_compiler_path();  ///< g++, else c++, else clang++

}  // namespace athanor
