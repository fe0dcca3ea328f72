// The helper program beside athanor; not for people.
//   athanor_sandbox serve SOCKET SLOTS          the server of one training rank
//   athanor_sandbox enter LIMITS NAME -- ...    inside a sandbox: the last steps before the program
//   athanor_sandbox attempts LIMITS             inside a sandbox: what must not work
#include <unistd.h>

#include <cstdio>
#include <exception>
#include <string>
#include <vector>

#include "src/base/error.hpp"
#include "src/sandbox/enter.hpp"
#include "src/sandbox/escape_attempts.hpp"
#include "src/sandbox/server.hpp"

int main(int argc, char** argv) {
  using namespace athanor;
  try {
    const std::vector<std::string> words(argv + 1, argv + argc);
    const std::string mode = words.empty() ? "" : words[0];
    if (mode == "serve" && words.size() == 3) {
      serve(std::stoi(words[1]), std::stoi(words[2]));
    } else if (mode == "enter") {
      enter({words.begin() + 1, words.end()});
    } else if (mode == "attempts") {
      try_to_escape(parse_limit_words({words.begin() + 1, words.end()}));
    } else {
      throw Error("athanor_sandbox: started by athanor, not by people");
    }
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 125;
  }
}
