// The life of MPI in this process, and the check of its return codes.
// Law: main (or a test's main) makes one MpiSession first and it dies last; every HostGroup, mesh and communicator dies
// before it. MPI is used from one thread (FUNNELED). MPI errors come back as codes and are thrown as CommError.
#pragma once

#include <mpi.h>

#include <source_location>
#include <string_view>

namespace athanor {

class MpiSession {
 public:
  /// MPI_Init_thread(FUNNELED). @throws CommError when MPI is not willing.
  MpiSession(int& argc, char**& argv);
  MpiSession(const MpiSession&) = delete;
  MpiSession& operator=(const MpiSession&) = delete;
  /// MPI_Finalize. Collective: a rank that fails must call abort() instead of leaving the others waiting here.
  ~MpiSession();

  int rank() const { return rank_; }
  int size() const { return size_; }

  /// Ends every rank of the job at once with this exit status. For a rank whose error the others cannot know of.
  [[noreturn]] static void abort(int exit_status) noexcept;

 private:
  int rank_ = 0, size_ = 1;
};

namespace mpi {

/// @throws CommError with what was tried, MPI's own text and the place, unless `code` is MPI_SUCCESS.
void check(int code, std::string_view what, std::source_location where = std::source_location::current());

}  // namespace mpi
}  // namespace athanor
