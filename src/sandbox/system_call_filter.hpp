// The seccomp filter a program runs under: the third wall, behind namespaces and limits. Law: what opens a way out
// (sockets, other processes, mounts, namespaces, modules, handles) or takes memory that no limit counts (System V
// memory, memory files) fails with EPERM; system calls newer than this file, and of other architectures' numbering,
// with ENOSYS.
#pragma once

namespace athanor {

/// Puts the calling thread, and all it becomes, under the filter for good. Needs no_new_privs.
/// @param may_fork  false: new threads only, no new process.
/// @throws Error when the kernel refuses, or the processor is neither x86-64 nor aarch64.
void enter_system_call_filter(bool may_fork);

}  // namespace athanor
