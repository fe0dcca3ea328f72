#include "parallel/agreement.hpp"

#include <filesystem>

namespace athanor {

void Outcome::raise() const {
  if (verdict == Verdict::interrupted) throw Interrupted(reason);
  if (verdict == Verdict::damaged) throw DataError(reason);
  if (verdict == Verdict::failed) throw Error(reason);
  if (verdict == Verdict::mismatch) throw ConfigError(reason);
}

namespace {

using Verdict = Outcome::Verdict;

Outcome attempt(const std::function<void()>& work) {
  try {
    work();
  } catch (const Interrupted& error) {
    return {Verdict::interrupted, error.what()};
  } catch (const ConfigError& error) {
    return {Verdict::mismatch, error.what()};
  } catch (const DataError& error) {
    return {Verdict::damaged, error.what()};
  } catch (const std::filesystem::filesystem_error& error) {
    return {Verdict::damaged, error.what()};
  } catch (const std::exception& error) {
    return {Verdict::failed, error.what()};
  }
  return {};
}

std::string to_text(const Outcome& outcome) { return static_cast<char>(outcome.verdict) + outcome.reason; }
Outcome from_text(const std::string& text) { return {static_cast<Verdict>(text.front()), text.substr(1)}; }

}  // namespace

void on_first_rank(HostGroup& ranks, const std::function<void()>& work) {
  const Outcome mine = ranks.rank() == 0 ? attempt(work) : Outcome{};
  from_text(ranks.broadcast(to_text(mine), 0)).raise();
}

Outcome attempt_together(HostGroup& ranks, const std::function<void()>& work) {
  const Outcome mine = attempt(work);
  // The common case costs one small message.
  if (ranks.all_agree(mine.good())) return {};
  const auto told = ranks.all_gather(to_text(mine));
  Outcome worst;
  for (int rank = 0; rank < ranks.size(); ++rank) {
    const Outcome other = from_text(told[static_cast<std::size_t>(rank)]);
    if (other.verdict <= worst.verdict) continue;
    worst = other;
    if (ranks.size() > 1) worst.reason += " (rank " + std::to_string(rank) + ")";
  }
  return worst;
}

}  // namespace athanor
