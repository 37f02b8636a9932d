"""The system calls that a build may make: an allow-list as container runtimes have it, compiled for this machine.

The names are those of Docker's default profile (github.com/moby/profiles, seccomp/default.json) for a container without
capabilities, less what lets one process into another, what hides work from the filter (io_uring), and what no compiler
needs. libseccomp does the compiling; ``pyseccomp`` calls it.
"""

from __future__ import annotations

import errno
import os
import platform
from functools import cache

from buildtool.errors import ToolMissing

ALLOWED = """
accept accept4 access alarm arch_prctl bind brk cachestat capget capset chdir chmod chown chown32 clock_getres
clock_getres_time64 clock_gettime clock_gettime64 clock_nanosleep clock_nanosleep_time64 close close_range connect
copy_file_range creat dup dup2 dup3 epoll_create epoll_create1 epoll_ctl epoll_pwait epoll_pwait2 epoll_wait eventfd
eventfd2 execve execveat exit exit_group faccessat faccessat2 fadvise64 fadvise64_64 fallocate fchdir fchmod fchmodat
fchmodat2 fchown fchown32 fchownat fcntl fcntl64 fdatasync fgetxattr flistxattr flock fork fremovexattr fsetxattr fstat
fstat64 fstatat64 fstatfs fstatfs64 fsync ftruncate ftruncate64 futex futex_requeue futex_time64 futex_wait futex_waitv
futex_wake futimesat getcpu getcwd getdents getdents64 getegid getegid32 geteuid geteuid32 getgid getgid32 getgroups
getgroups32 getitimer getpeername getpgid getpgrp getpid getppid getpriority getrandom getresgid getresgid32 getresuid
getresuid32 getrlimit get_robust_list getrusage getsid getsockname getsockopt get_thread_area gettid gettimeofday
getuid getuid32 getxattr getxattrat inotify_add_watch inotify_init inotify_init1 inotify_rm_watch ioctl ioprio_get
ioprio_set ipc kill landlock_add_rule landlock_create_ruleset landlock_restrict_self lchown lchown32 lgetxattr link
linkat listen listxattr listxattrat llistxattr _llseek lremovexattr lseek lsetxattr lstat lstat64 madvise
map_shadow_stack membarrier memfd_create mincore mkdir mkdirat mknod mknodat mlock mlock2 mlockall mmap mmap2
modify_ldt mprotect mq_getsetattr mq_notify mq_open mq_timedreceive mq_timedreceive_time64 mq_timedsend
mq_timedsend_time64 mq_unlink mremap mseal msgctl msgget msgrcv msgsnd msync munlock munlockall munmap nanosleep
newfstatat _newselect open openat openat2 pause pidfd_open pidfd_send_signal pipe pipe2 pkey_alloc pkey_free
pkey_mprotect poll ppoll ppoll_time64 prctl pread64 preadv preadv2 prlimit64 process_mrelease pselect6 pselect6_time64
pwrite64 pwritev pwritev2 read readahead readlink readlinkat readv recv recvfrom recvmmsg recvmmsg_time64 recvmsg
remap_file_pages removexattr removexattrat rename renameat renameat2 restart_syscall riscv_flush_icache riscv_hwprobe
rmdir rseq rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend rt_sigtimedwait
rt_sigtimedwait_time64 rt_tgsigqueueinfo sched_getaffinity sched_getattr sched_getparam sched_get_priority_max
sched_get_priority_min sched_getscheduler sched_rr_get_interval sched_rr_get_interval_time64 sched_setaffinity
sched_setattr sched_setparam sched_setscheduler sched_yield seccomp select semctl semget semop semtimedop
semtimedop_time64 send sendfile sendfile64 sendmmsg sendmsg sendto setfsgid setfsgid32 setfsuid setfsuid32 setgid
setgid32 setgroups setgroups32 setitimer setpgid setpriority setregid setregid32 setresgid setresgid32 setresuid
setresuid32 setreuid setreuid32 setrlimit set_robust_list setsid setsockopt set_thread_area set_tid_address setuid
setuid32 setxattr setxattrat shmat shmctl shmdt shmget shutdown sigaltstack signalfd signalfd4 sigprocmask sigreturn
socketpair splice stat stat64 statfs statfs64 statx swapcontext symlink symlinkat sync sync_file_range sync_file_range2
syncfs sysinfo tee tgkill time timer_create timer_delete timer_getoverrun timer_gettime timer_gettime64 timer_settime
timer_settime64 timerfd_create timerfd_gettime timerfd_gettime64 timerfd_settime timerfd_settime64 times tkill truncate
truncate64 ugetrlimit umask uname unlink unlinkat uretprobe utime utimensat utimensat_time64 utimes vfork vmsplice
wait4 waitid waitpid write writev
arm_fadvise64_64 arm_sync_file_range breakpoint cacheflush set_tls
""".split()
"""Allowed with any arguments. A name that another architecture has, or a newer libseccomp, is left out by itself."""

ABSENT = ("clone3", "io_setup")
"""What fails with ENOSYS, so that programs do it in another way: a filter cannot look at the arguments of ``clone3``,
and the number of ``io_setup``'s queues is one for the whole machine."""

FAMILIES = (1, 2, 10, 16)
"""The kinds of sockets: Unix, IPv4, IPv6, netlink."""

PERSONALITIES = (0x0, 0x8, 0x20000, 0x20008, 0x40000, 0x40008, 0xFFFF_FFFF)
"""Linux as 32 or 64 bits, with or without addresses at random, and the question which it is."""

_NAMESPACES = 0x7E02_0000
"""The flags of ``clone`` that make a namespace; a new clock cannot be had by ``clone``."""

_TERMINAL = (0x5412, 0x541C)
"""TIOCSTI and TIOCLINUX, which type into a terminal as if its owner had. They are compared in 32 bits, as the kernel
does: with anything in the upper half they would pass a filter that compares 64."""

_WORD = 0xFFFF_FFFF


@cache
def filters() -> tuple[bytes, ...]:
    """Return the BPF programs, of which each call must pass all. Raises ToolMissing where there is no libseccomp.

    What is not allowed fails with EPERM, in every calling convention of this machine, and ``ABSENT`` with ENOSYS.
    """
    try:
        import pyseccomp as seccomp  # noqa: PLC0415 - it loads the library, which a machine may lack
    except (ImportError, OSError, RuntimeError) as error:
        raise ToolMissing("libseccomp is missing") from error

    def new(default: int) -> seccomp.SyscallFilter:
        made = seccomp.SyscallFilter(default)
        made.set_attr(seccomp.Attr.CTL_OPTIMIZE, _AS_A_TREE)
        made.set_attr(seccomp.Attr.ACT_BADARCH, seccomp.ERRNO(errno.EPERM))
        for other in _OTHER_ARCHES.get(platform.machine(), ()):
            made.add_arch(getattr(seccomp.Arch, other))
        return made

    def allow(name: str, *arguments: seccomp.Arg) -> None:
        if seccomp.resolve_syscall(seccomp.system_arch(), name) != _UNKNOWN:
            allowed.add_rule(seccomp.ALLOW, name, *arguments)

    refused = new(seccomp.ALLOW)
    for request in _TERMINAL:
        refused.add_rule(seccomp.ERRNO(errno.EPERM), "ioctl", seccomp.Arg(1, seccomp.MASKED_EQ, _WORD, request))
    # The older call for all that has to do with sockets has its arguments where no filter sees them, and so would make
    # sockets of any kind: vsock, which no namespace bounds. libseccomp allows it with "socket". C libraries do without.
    refused.add_rule(seccomp.ERRNO(errno.EPERM), "socketcall")
    allowed = new(seccomp.ERRNO(errno.EPERM))
    conditions = [("socket", 0, one) for one in FAMILIES] + [("personality", 0, one) for one in PERSONALITIES]
    for name in ALLOWED:
        allow(name)
    for name, which, value in conditions:
        allow(name, seccomp.Arg(which, seccomp.MASKED_EQ, _WORD, value))
    for name in ABSENT:
        allowed.add_rule(seccomp.ERRNO(errno.ENOSYS), name)
    flags = 1 if platform.machine().startswith("s390") else 0  # which of the arguments they are
    allow("clone", seccomp.Arg(flags, seccomp.MASKED_EQ, _NAMESPACES, 0))
    return tuple(_compiled(one) for one in (allowed, refused))


def _compiled(made: object) -> bytes:
    descriptor = os.memfd_create("filter")
    with os.fdopen(descriptor, "r+b") as file:
        made.export_bpf(file)  # type: ignore[attr-defined]
        file.seek(0)
        return file.read()


_AS_A_TREE = 2
_UNKNOWN = -1
_OTHER_ARCHES = {"x86_64": ("X86",), "aarch64": ("ARM",)}
"""What else a processor runs: i386 programs, and 32-bit ARM's. x32 is refused, as most kernels do themselves."""
