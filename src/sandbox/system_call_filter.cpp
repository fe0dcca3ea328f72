#include "src/sandbox/system_call_filter.hpp"

#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "src/base/error.hpp"

namespace athanor {
namespace {

#if defined(__x86_64__)
constexpr std::uint32_t kArchitecture = AUDIT_ARCH_X86_64;
#elif defined(__aarch64__)
constexpr std::uint32_t kArchitecture = AUDIT_ARCH_AARCH64;
#else
constexpr std::uint32_t kArchitecture = 0;
#endif

/// Linux 5.16's newest; x86-64's x32 numbering (bit 30) lies above as well.
constexpr std::uint32_t kNewestKnown = 449;
constexpr std::uint32_t kNewNamespaces =
    CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP;

/// Refused with EPERM. pidfd_open and what follows have the same number everywhere and may be missing in old headers.
constexpr long kRefused[] = {
    // ways to others: network, processes, keys
    SYS_socket,
    SYS_socketpair,
    SYS_connect,
    SYS_bind,
    SYS_listen,
    SYS_accept,
    SYS_accept4,
    SYS_sendto,
    SYS_sendmsg,
    SYS_sendmmsg,
    SYS_recvfrom,
    SYS_recvmsg,
    SYS_recvmmsg,
    SYS_ptrace,
    SYS_process_vm_readv,
    SYS_process_vm_writev,
    SYS_kcmp,
    SYS_add_key,
    SYS_request_key,
    SYS_keyctl,
    424 /* pidfd_send_signal */,
    434 /* pidfd_open */,
    438 /* pidfd_getfd */,
    440 /* process_madvise */,
    // ways to other files
    SYS_mount,
    SYS_umount2,
    SYS_pivot_root,
    SYS_chroot,
    SYS_unshare,
    SYS_setns,
    SYS_name_to_handle_at,
    SYS_open_by_handle_at,
    SYS_mknodat,
    SYS_quotactl,
    SYS_fanotify_init,
    SYS_inotify_init1,
    428 /* open_tree */,
    429 /* move_mount */,
    430 /* fsopen */,
    431 /* fsconfig */,
    432 /* fsmount */,
    433 /* fspick */,
    442 /* mount_setattr */,
    443 /* quotactl_fd */,
    // memory that no limit counts
    SYS_shmget,
    SYS_shmat,
    SYS_shmctl,
    SYS_semget,
    SYS_msgget,
    SYS_msgsnd,
    SYS_mq_open,
    SYS_memfd_create,
    447 /* memfd_secret */,
    // the kernel itself
    SYS_bpf,
    SYS_perf_event_open,
    SYS_userfaultfd,
    425 /* io_uring_setup */,
    426 /* io_uring_enter */,
    427 /* io_uring_register */,
    SYS_init_module,
    SYS_finit_module,
    SYS_delete_module,
    SYS_kexec_load,
    SYS_reboot,
    SYS_swapon,
    SYS_swapoff,
    SYS_acct,
    SYS_syslog,
    SYS_settimeofday,
    SYS_clock_settime,
    SYS_clock_adjtime,
    SYS_adjtimex,
    SYS_sethostname,
    SYS_setdomainname,
    SYS_vhangup,
    SYS_personality,
    SYS_move_pages,
    SYS_migrate_pages,
#if defined(__x86_64__)
    SYS_mknod,
    SYS_inotify_init,
    SYS_iopl,
    SYS_ioperm,
    SYS_modify_ldt,
    SYS_kexec_file_load,
    SYS_uselib,
    SYS_ustat,
    SYS_sysfs,
    SYS__sysctl,
#endif
};

class FilterProgram {
 public:
  void load(std::size_t offset) { add(BPF_LD | BPF_W | BPF_ABS, static_cast<std::uint32_t>(offset)); }
  /// The answer when the loaded word compares true with `value`; else the program goes on.
  void when(std::uint16_t comparison, std::uint32_t value, std::uint32_t answer) {
    jump(comparison, value, 0, 1);
    add(BPF_RET | BPF_K, answer);
  }
  void unless(std::uint16_t comparison, std::uint32_t value, std::uint32_t answer) {
    jump(comparison, value, 1, 0);
    add(BPF_RET | BPF_K, answer);
  }
  void jump(std::uint16_t comparison, std::uint32_t value, std::uint8_t if_true, std::uint8_t if_false) {
    code_.push_back({static_cast<std::uint16_t>(BPF_JMP | comparison | BPF_K), if_true, if_false, value});
  }
  void answer(std::uint32_t answer) { add(BPF_RET | BPF_K, answer); }
  sock_fprog get() { return {static_cast<unsigned short>(code_.size()), code_.data()}; }

 private:
  void add(int code, std::uint32_t value) { code_.push_back({static_cast<std::uint16_t>(code), 0, 0, value}); }
  std::vector<sock_filter> code_;
};

constexpr std::uint32_t error(int number) { return SECCOMP_RET_ERRNO | static_cast<std::uint32_t>(number); }

FilterProgram make_filter(bool may_fork) {
  FilterProgram filter;
  filter.load(offsetof(seccomp_data, arch));
  filter.unless(BPF_JEQ, kArchitecture, SECCOMP_RET_KILL_PROCESS);
  filter.load(offsetof(seccomp_data, nr));
  filter.when(BPF_JGT, kNewestKnown, error(ENOSYS));
  for (const long number : kRefused) filter.when(BPF_JEQ, static_cast<std::uint32_t>(number), error(EPERM));
  // Its flags lie behind a pointer, where a filter can not look; the C library then uses clone.
  filter.when(BPF_JEQ, 435 /* clone3 */, error(ENOSYS));
#if defined(__x86_64__)
  if (!may_fork) {
    filter.when(BPF_JEQ, SYS_fork, error(EAGAIN));
    filter.when(BPF_JEQ, SYS_vfork, error(EAGAIN));
  }
#endif
  filter.jump(BPF_JEQ, SYS_clone, 1, 0);
  filter.answer(SECCOMP_RET_ALLOW);
  filter.load(offsetof(seccomp_data, args));  // the flags: the low half, processors here being little-endian
  filter.when(BPF_JSET, kNewNamespaces, error(EPERM));
  if (!may_fork) filter.unless(BPF_JSET, CLONE_THREAD, error(EAGAIN));
  filter.answer(SECCOMP_RET_ALLOW);
  return filter;
}

}  // namespace

void enter_system_call_filter(bool may_fork) {
  if (kArchitecture == 0) throw Error("sandbox: no system call filter for this processor; x86-64 and aarch64 have one");
  FilterProgram filter = make_filter(may_fork);
  sock_fprog program = filter.get();
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0)
    throw Error(std::string("sandbox: the kernel takes no system call filter: ") + std::strerror(errno));
}

}  // namespace athanor
