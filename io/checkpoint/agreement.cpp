#include "io/checkpoint/agreement.hpp"

#include <filesystem>

#include "src/base/error.hpp"

namespace athanor {

void Outcome::raise() const {
  if (verdict == Verdict::damaged) throw DataError(reason);
  if (verdict == Verdict::failed) throw Error(reason);
  if (verdict == Verdict::mismatch) throw ConfigError(reason);
}

Outcome attempt_together(HostGroup& ranks, const std::function<void()>& work) {
  using Verdict = Outcome::Verdict;
  Outcome mine;
  try {
    work();
  } catch (const ConfigError& error) {
    mine = {Verdict::mismatch, error.what()};
  } catch (const DataError& error) {
    mine = {Verdict::damaged, error.what()};
  } catch (const std::filesystem::filesystem_error& error) {
    mine = {Verdict::damaged, error.what()};
  } catch (const std::exception& error) {
    mine = {Verdict::failed, error.what()};
  }
  // The common case costs one small message.
  if (ranks.all_agree(mine.good())) return {};
  const auto told = ranks.all_gather(std::string(1, static_cast<char>(mine.verdict)) + mine.reason);
  Outcome worst;
  for (int rank = 0; rank < ranks.size(); ++rank) {
    const std::string& text = told[static_cast<std::size_t>(rank)];
    const auto verdict = static_cast<Verdict>(text.front());
    if (verdict <= worst.verdict) continue;
    worst = {verdict, text.substr(1)};
    if (ranks.size() > 1) worst.reason += " (rank " + std::to_string(rank) + ")";
  }
  return worst;
}

}  // namespace athanor
