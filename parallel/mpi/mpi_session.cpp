#include "parallel/mpi/mpi_session.hpp"

#include <stdlib.h>

#include <array>
#include <cstdlib>
#include <string>

#include "src/base/error.hpp"

namespace athanor {

MpiSession::MpiSession(int& argc, char**& argv) {
  // A rank that waits lets others have its core: ranks share cores with the threads of their neighbours, and a spinning
  // one slows down the very rank it waits for (measured on a shared 2-core machine: 4 times). What the user set stays.
  ::setenv("OMPI_MCA_mpi_yield_when_idle", "1", 0);
  int provided = MPI_THREAD_SINGLE;
  mpi::check(MPI_Init_thread(&argc, &argv, MPI_THREAD_FUNNELED, &provided), "MPI_Init_thread");
  mpi::check(MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN), "MPI_Comm_set_errhandler");
  mpi::check(MPI_Comm_rank(MPI_COMM_WORLD, &rank_), "MPI_Comm_rank");
  mpi::check(MPI_Comm_size(MPI_COMM_WORLD, &size_), "MPI_Comm_size");
  if (provided < MPI_THREAD_FUNNELED)
    throw CommError("MPI offers thread level " + std::to_string(provided) + ", wanted MPI_THREAD_FUNNELED (" +
                    std::to_string(MPI_THREAD_FUNNELED) + "); use an MPI built with thread support");
}

MpiSession::~MpiSession() {
  int finalized = 0;
  MPI_Finalized(&finalized);
  if (!finalized) MPI_Finalize();
}

void MpiSession::abort(int exit_status) noexcept {
  MPI_Abort(MPI_COMM_WORLD, exit_status);
  std::_Exit(exit_status);  // where MPI_Abort returns although it should not
}

namespace mpi {

void check(int code, std::string_view what, std::source_location where) {
  if (code == MPI_SUCCESS) return;
  std::array<char, MPI_MAX_ERROR_STRING> text{};
  int length = 0;
  if (MPI_Error_string(code, text.data(), &length) != MPI_SUCCESS) length = 0;
  throw CommError(std::string(what) + " failed: " +
                  (length > 0 ? std::string(text.data(), static_cast<std::size_t>(length))
                              : "MPI error code " + std::to_string(code)) +
                  " (" + where.file_name() + ":" + std::to_string(where.line()) + ")");
}

}  // namespace mpi
}  // namespace athanor
