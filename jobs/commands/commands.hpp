// The commands of the program. Law: a command is one function and one row of commands(); what is listed works.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "parallel/host_group.hpp"

namespace athanor {

struct Command {
  const char* name;
  const char* summary;  ///< one line of `athanor --help`
  /// @param words  what stands after the command's name. Collective. @returns the exit status.
  int (*run)(const std::vector<std::string>& words, HostGroup& world);
};

std::span<const Command> commands();

inline constexpr int kExitComplete = 0;
inline constexpr int kExitInterrupted = 75;  ///< resumable: Slurm requeues on it

int run_command(const std::vector<std::string>& words, HostGroup& world);
int evaluate_command(const std::vector<std::string>& words, HostGroup& world);
int generate_command(const std::vector<std::string>& words, HostGroup& world);
int prepare_command(const std::vector<std::string>& words, HostGroup& world);
int score_command(const std::vector<std::string>& words, HostGroup& world);
int tokenizer_command(const std::vector<std::string>& words, HostGroup& world);
int inspect_command(const std::vector<std::string>& words, HostGroup& world);
int plan_command(const std::vector<std::string>& words, HostGroup& world);
int schedule_command(const std::vector<std::string>& words, HostGroup& world);
int report_command(const std::vector<std::string>& words, HostGroup& world);
int doctor_command(const std::vector<std::string>& words, HostGroup& world);
int bench_command(const std::vector<std::string>& words, HostGroup& world);

}  // namespace athanor
