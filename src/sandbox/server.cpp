#include "src/sandbox/server.hpp"

#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <deque>
#include <list>
#include <memory>

#include "src/base/error.hpp"
#include "src/sandbox/bubblewrap.hpp"
#include "src/sandbox/enter.hpp"
#include "src/sandbox/messages.hpp"
#include "src/sandbox/sandboxed_run.hpp"
#include "src/sandbox/system_programs.hpp"

namespace athanor {
namespace {

constexpr uid_t kNobody = 65534;

/// What a C++ program is compiled with, and under which bounds: the compiler is honest, its input need not be.
constexpr std::uint64_t kMostProgramBytes = 32ULL << 20;
SandboxLimits compilation_limits() {
  return {.cpu_seconds = 30.0,
          .wall_seconds = 60.0,
          .memory_bytes = 2ULL << 30,
          .scratch_bytes = 128ULL << 20,
          .output_bytes = kMostProgramBytes,
          .max_processes = 16,
          .max_threads = 16};
}

void become_nobody() {
  if (geteuid() != 0) return;
  if (setgroups(0, nullptr) != 0 || setresgid(kNobody, kNobody, kNobody) != 0 ||
      setresuid(kNobody, kNobody, kNobody) != 0)
    throw Error(std::string("sandbox: root cannot become nobody: ") + std::strerror(errno));
  prctl(PR_SET_DUMPABLE, 1);  // or its own files in /proc would stay root's
}

/// A request, and what is left to do for it.
struct Job {
  Request request;
  OpenFile program;
};
struct Task {
  std::shared_ptr<Job> job;
  std::int64_t index;
};
struct Active {
  Task task;
  SandboxedRun run;
};

class Server {
 public:
  Server(int socket, int slots)
      : socket_(socket),
        slots_(static_cast<std::size_t>(slots)),
        helper_(open("/proc/self/exe", O_RDONLY | O_CLOEXEC)),
        bubblewrap_(bubblewrap_path()),
        python_(python_path()),
        compiler_(cpp_compiler_path()) {
    if (!helper_) throw Error("sandbox: cannot open /proc/self/exe");
  }

  void run() {
    while (!closed_) {
      start_waiting();
      wait();
      for (auto active = active_.begin(); active != active_.end();) {
        if (active->run.advance()) {
          finished(active->task, active->run.take());
          active = active_.erase(active);
        } else {
          ++active;
        }
      }
      receive();
      send_waiting();
    }
  }

 private:
  void wait() {
    std::vector<pollfd> files{{socket_.get(), static_cast<short>(out_.empty() ? POLLIN : POLLIN | POLLOUT), 0}};
    int milliseconds = -1;
    for (const Active& active : active_) {
      active.run.add_files(files);
      const auto left =
          std::chrono::duration_cast<std::chrono::milliseconds>(active.run.deadline() - SandboxedRun::Clock::now());
      const int until = static_cast<int>(std::clamp<std::int64_t>(left.count() + 1, 1, 60'000));
      milliseconds = milliseconds < 0 ? until : std::min(milliseconds, until);
    }
    if (poll(files.data(), files.size(), milliseconds) < 0 && errno != EINTR) throw Error("sandbox: poll failed");
  }

  void receive() {
    char block[1 << 16];
    while (true) {
      const ssize_t size = recv(socket_.get(), block, sizeof block, MSG_DONTWAIT);
      if (size < 0 && errno == EINTR) continue;
      if (size < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) break;
      if (size <= 0) {
        closed_ = true;
        return;
      }
      in_.append(block, static_cast<std::size_t>(size));
    }
    while (auto body = take_frame(in_)) accept(parse_request(*body));
  }

  void send_waiting() {
    while (!out_.empty()) {
      const ssize_t size = send(socket_.get(), out_.data(), out_.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
      if (size < 0 && errno == EINTR) continue;
      if (size < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return;
      if (size < 0) {
        closed_ = true;
        return;
      }
      out_.erase(0, static_cast<std::size_t>(size));
    }
  }

  void accept(Request request) {
    const auto job = std::make_shared<Job>(Job{std::move(request), OpenFile()});
    if (job->request.program.kind == ProgramKind::cpp)
      waiting_.push_back({job, Report::kCompilation});
    else
      queue_inputs(job);
  }

  void queue_inputs(const std::shared_ptr<Job>& job) {
    for (std::size_t i = 0; i < job->request.program.inputs.size(); ++i)
      waiting_.push_back({job, static_cast<std::int64_t>(i)});
  }

  void start_waiting() {
    while (active_.size() < slots_ && !waiting_.empty()) {
      const Task task = std::move(waiting_.front());
      waiting_.pop_front();
      try {
        start(task);
      } catch (const std::exception& error) {
        finished(task, {.status = RunStatus::broken, .message = error.what()});
      }
    }
  }

  void start(const Task& task) {
    Job& job = *task.job;
    const Program& program = job.request.program;
    const bool compiles = task.index == Report::kCompilation;
    if (bubblewrap_.empty()) throw Error("no bwrap in /usr/bin or /usr/local/bin");
    if (!job.program) job.program = sealed_memory_file("program", program.source);
    std::string name = "program";
    std::vector<std::string> command{"/scratch/program"};
    if (program.kind == ProgramKind::python) {
      if (python_.empty()) throw Error("no python3 in /usr/bin or /usr/local/bin");
      name = "program.py";
      command = {python_, "-I", "-B", "-X", "utf8", "/scratch/program.py"};
    } else if (program.kind == ProgramKind::probe) {
      command = {kHelperInside, "attempts"};
      for (std::string& word : limit_words(program.limits)) command.push_back(std::move(word));
    } else if (compiles) {
      if (compiler_.empty()) throw Error("no g++, c++ or clang++ in /usr/bin or /usr/local/bin");
      name = "program.cpp";
      command = {"/bin/sh", "-c", compiler_ + " -std=c++17 -O2 -pipe -o program program.cpp && cat program"};
    }
    const SandboxLimits limits = compiles ? compilation_limits() : program.limits;
    const std::string input = compiles ? "" : program.inputs[static_cast<std::size_t>(task.index)];
    active_.push_back({task, SandboxedRun(bubblewrap_command(bubblewrap_, limits, name, command), input, job.program,
                                          helper_, limits)});
  }

  void finished(const Task& task, ProgramRun run) {
    if (task.index == Report::kCompilation && run.status == RunStatus::finished && run.exit_code == 0) {
      task.job->program = sealed_memory_file("program", run.output);  // from source to what came of it
      run.output.clear();
      queue_inputs(task.job);
    }
    out_ += frame(Report{task.job->request.id, task.index, std::move(run)});
  }

  OpenFile socket_;
  std::size_t slots_;
  OpenFile helper_;
  std::string bubblewrap_, python_, compiler_;
  std::deque<Task> waiting_;
  std::list<Active> active_;
  std::string in_, out_;
  bool closed_ = false;
};

}  // namespace

void serve(int socket, int slots) {
  become_nobody();
  // A signal to the job's group is the training rank's to deal with; this process ends when the rank does.
  for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGPIPE}) std::signal(signal, SIG_IGN);
  Server(socket, slots).run();
}

}  // namespace athanor
