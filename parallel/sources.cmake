# The MPI C interface alone: no C++ bindings of MPI.
target_compile_definitions(athanor_parallel PUBLIC OMPI_SKIP_MPICXX MPICH_SKIP_MPICXX)
target_sources(athanor_parallel PRIVATE
  ${CMAKE_CURRENT_SOURCE_DIR}/host_group.cpp
  ${CMAKE_CURRENT_SOURCE_DIR}/mpi/mpi_session.cpp)
