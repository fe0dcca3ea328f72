#include "src/sandbox/bubblewrap.hpp"

#include <sys/stat.h>
#include <unistd.h>

#include "src/sandbox/enter.hpp"

namespace athanor {
namespace {

/// /bin, /lib and their like are links into /usr on systems of today, folders on older ones.
void add_system_folder(std::vector<std::string>& words, const std::string& path) {
  struct stat status {};
  if (lstat(path.c_str(), &status) != 0) return;
  if (S_ISLNK(status.st_mode)) {
    std::string target(4096, '\0');
    const ssize_t size = readlink(path.c_str(), target.data(), target.size());
    if (size <= 0) return;
    target.resize(static_cast<std::size_t>(size));
    words.insert(words.end(), {"--symlink", target, path});
  } else {
    words.insert(words.end(), {"--ro-bind", path, path});
  }
}

}  // namespace

std::vector<std::string> bubblewrap_command(const std::string& bubblewrap, const SandboxLimits& limits,
                                            const std::string& program_name, const std::vector<std::string>& command) {
  std::vector<std::string> words{bubblewrap, "--unshare-all", "--unshare-user", "--uid",
                                 "1000",     "--gid",         "1000",           "--hostname",
                                 "sandbox",  "--new-session", "--clearenv",     "--die-with-parent"};
  const std::pair<const char*, const char*> environment[] = {
      {"PATH", "/usr/bin:/bin"}, {"HOME", "/scratch"},          {"TMPDIR", "/scratch"},  {"LANG", "C.UTF-8"},
      {"OMP_NUM_THREADS", "1"},  {"OPENBLAS_NUM_THREADS", "1"}, {"MKL_NUM_THREADS", "1"}};
  for (const auto& [name, value] : environment) words.insert(words.end(), {"--setenv", name, value});
  words.insert(words.end(), {"--ro-bind", "/usr", "/usr"});
  for (const char* path : {"/bin", "/sbin", "/lib", "/lib32", "/lib64"}) add_system_folder(words, path);
  for (const char* path : {"/etc/ld.so.cache", "/etc/alternatives"})
    words.insert(words.end(), {"--ro-bind-try", path, path});
  for (const char* path : {"/dev/null", "/dev/zero", "/dev/urandom"})
    words.insert(words.end(), {"--dev-bind", path, path});
  // CAP_SYS_ADMIN in the new namespace alone, for `enter` to mount /scratch with its bounds; it gives all up at once.
  words.insert(words.end(), {"--dir", "/scratch", "--perms", "0555", "--ro-bind-data", std::to_string(kHelperFile),
                             kHelperInside, "--remount-ro", "/", "--cap-add", "CAP_SYS_ADMIN", "--"});
  const std::vector<std::string> inside = enter_command(limits, program_name, command);
  words.insert(words.end(), inside.begin(), inside.end());
  return words;
}

}  // namespace athanor
