# The MPI C interface alone: no C++ bindings of MPI.
target_compile_definitions(athanor_parallel PUBLIC OMPI_SKIP_MPICXX MPICH_SKIP_MPICXX)
target_sources(athanor_parallel PRIVATE
  ${CMAKE_CURRENT_SOURCE_DIR}/agreement.cpp
  ${CMAKE_CURRENT_SOURCE_DIR}/clock_offset.cpp
  ${CMAKE_CURRENT_SOURCE_DIR}/collective_check.cpp
  ${CMAKE_CURRENT_SOURCE_DIR}/collective_log.cpp
  ${CMAKE_CURRENT_SOURCE_DIR}/build_identity.cpp
  ${CMAKE_CURRENT_SOURCE_DIR}/deadlines.cpp
  ${CMAKE_CURRENT_SOURCE_DIR}/fault.cpp
  ${CMAKE_CURRENT_SOURCE_DIR}/host_group.cpp
  ${CMAKE_CURRENT_SOURCE_DIR}/message_check.cpp
  ${CMAKE_CURRENT_SOURCE_DIR}/message_speed.cpp
  ${CMAKE_CURRENT_SOURCE_DIR}/node_memory.cpp
  ${CMAKE_CURRENT_SOURCE_DIR}/process_mesh.cpp
  ${CMAKE_CURRENT_SOURCE_DIR}/stack.cpp
  ${CMAKE_CURRENT_SOURCE_DIR}/train_step.cpp
  ${CMAKE_CURRENT_SOURCE_DIR}/transport.cpp
  ${CMAKE_CURRENT_SOURCE_DIR}/watchdog.cpp
  ${CMAKE_CURRENT_SOURCE_DIR}/data/grad_reducer.cpp
  ${CMAKE_CURRENT_SOURCE_DIR}/data/owned_slices.cpp
  ${CMAKE_CURRENT_SOURCE_DIR}/data/zero_optimizer.cpp
  ${CMAKE_CURRENT_SOURCE_DIR}/mesh_model.cpp
  ${CMAKE_CURRENT_SOURCE_DIR}/packing/sequence_packer.cpp
  ${CMAKE_CURRENT_SOURCE_DIR}/rollout/advantage.cpp
  ${CMAKE_CURRENT_SOURCE_DIR}/rollout/answer_batcher.cpp
  ${CMAKE_CURRENT_SOURCE_DIR}/rollout/experience.cpp
  ${CMAKE_CURRENT_SOURCE_DIR}/rollout/generation_window.cpp
  ${CMAKE_CURRENT_SOURCE_DIR}/rollout/rollout_engine.cpp
  ${CMAKE_CURRENT_SOURCE_DIR}/rollout/slot_pages.cpp
  ${CMAKE_CURRENT_SOURCE_DIR}/rollout/token_advantage.cpp
  ${CMAKE_CURRENT_SOURCE_DIR}/pipeline/schedule_plan.cpp
  ${CMAKE_CURRENT_SOURCE_DIR}/expert/all_to_all_dispatcher.cpp
  ${CMAKE_CURRENT_SOURCE_DIR}/expert/node_map.cpp
  ${CMAKE_CURRENT_SOURCE_DIR}/expert/placement.cpp
  ${CMAKE_CURRENT_SOURCE_DIR}/expert/row_hop.cpp
  ${CMAKE_CURRENT_SOURCE_DIR}/plan/activation_peak.cpp
  ${CMAKE_CURRENT_SOURCE_DIR}/plan/communication_volume.cpp
  ${CMAKE_CURRENT_SOURCE_DIR}/plan/layout_plan.cpp
  ${CMAKE_CURRENT_SOURCE_DIR}/mpi/mpi_communicator.cpp
  ${CMAKE_CURRENT_SOURCE_DIR}/mpi/mpi_session.cpp
  ${CMAKE_CURRENT_SOURCE_DIR}/mpi/rank_order_reduce.cpp
  ${CMAKE_CURRENT_SOURCE_DIR}/mpi/staged_communicator.cpp
  ${CMAKE_CURRENT_SOURCE_DIR}/nccl/nccl_communicator.cpp
  ${CMAKE_CURRENT_SOURCE_DIR}/nccl/nccl_library.cpp
  ${CMAKE_CURRENT_SOURCE_DIR}/nccl/nccl_link.cpp
  ${CMAKE_CURRENT_SOURCE_DIR}/nccl/nccl_messages.cpp
  ${CMAKE_CURRENT_SOURCE_DIR}/nccl/nccl_session.cpp
  ${CMAKE_CURRENT_SOURCE_DIR}/nccl/nccl_watch.cpp
  ${CMAKE_CURRENT_SOURCE_DIR}/pipeline/draw.cpp
  ${CMAKE_CURRENT_SOURCE_DIR}/pipeline/lower.cpp
  ${CMAKE_CURRENT_SOURCE_DIR}/pipeline/make_schedules.cpp
  ${CMAKE_CURRENT_SOURCE_DIR}/pipeline/runner.cpp
  ${CMAKE_CURRENT_SOURCE_DIR}/pipeline/schedule.cpp
  ${CMAKE_CURRENT_SOURCE_DIR}/pipeline/simulate.cpp
  ${CMAKE_CURRENT_SOURCE_DIR}/pipeline/validate.cpp)
# Sums over ranks are kernels: compiled for the machine, as those of the CPU back end.
set_source_files_properties(${CMAKE_CURRENT_SOURCE_DIR}/mpi/rank_order_reduce.cpp PROPERTIES COMPILE_OPTIONS "-march=${ATHANOR_ARCH};-O3")
