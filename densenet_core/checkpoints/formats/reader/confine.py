"""Drop every right that reading a file does not need; called once, before the first byte of the file is parsed.

On Linux a seccomp filter allows only reading, writing to open files and managing memory. Elsewhere, and where the
kernel has no seccomp, the limits of ``resource`` apply: no file can be opened and no process started.
"""

from __future__ import annotations

import os
import struct
import sys
from typing import Any

from ..limits import MAX_INDEX, READER_MEMORY, READER_OUTPUT, READER_RATE, READER_SECONDS

_NO_NEW_PRIVS, _SET_SECCOMP, _SECCOMP_FILTER, _PARENT_DEATH_SIGNAL, _SIGKILL = 38, 22, 2, 1, 9
_ALLOW, _FAIL = 0x7FFF0000, 0x00050001  # the second fails the call with EPERM
# read, write, close, fstat, lseek, mmap, munmap, mprotect, mremap, brk, madvise, pread64, pwrite64, readv, writev,
# ftruncate, futex, clock_gettime, getrandom, rt_sigaction, rt_sigprocmask, rt_sigreturn, sched_yield, exit, exit_group,
# getpid, gettid, set_robust_list, rseq, sysinfo, newfstatat (of an open file), sigaltstack, restart_syscall
_CALLS = {
    "x86_64": (
        0xC000003E,
        (
            *(0, 1, 3, 5, 8, 9, 11, 10, 25, 12, 28, 17, 18, 19, 20, 77, 202, 228, 318, 13, 14, 15, 24, 60, 231),
            *(39, 186, 273, 334, 99, 131, 219),
        ),
    ),
    "aarch64": (
        0xC00000B7,
        (
            *(63, 64, 57, 80, 62, 222, 215, 226, 216, 214, 233, 67, 68, 65, 66, 46, 98, 113, 278, 134, 135, 139, 124),
            *(93, 94, 172, 178, 99, 293, 179, 132, 128),
        ),
    ),
}


def confine(file_size: int) -> None:
    """Limit this process to reading a file of ``file_size`` bytes that is open already."""
    libc = _libc()
    _limit_resources(file_size)
    if libc is not None:
        _filter_system_calls(libc)


def _limit_resources(file_size: int) -> None:
    try:
        import resource
    except ImportError:  # Windows
        return
    limits = {
        "RLIMIT_CPU": READER_SECONDS + file_size // READER_RATE,
        "RLIMIT_FSIZE": file_size + READER_OUTPUT + MAX_INDEX,
        "RLIMIT_NOFILE": 3,  # the open ones: no file and no socket can be opened
        "RLIMIT_NPROC": 0,
        "RLIMIT_CORE": 0,
        "RLIMIT_AS": _address_space() + READER_MEMORY + 2 * file_size if _address_space() else 0,
    }
    for name, limit in limits.items():
        if limit or name != "RLIMIT_AS":
            try:
                resource.setrlimit(getattr(resource, name), (limit, limit))
            except (AttributeError, OSError, ValueError):
                continue  # macOS does not enforce a limit of address space


def _address_space() -> int:
    """Return the bytes of address space in use, 0 if unknown."""
    try:
        with open("/proc/self/statm", "rb") as stream:
            return int(stream.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError):
        return 0


def _libc() -> Any:
    """Return the C library on Linux."""
    if sys.platform != "linux":
        return None
    try:
        import ctypes

        return ctypes.CDLL(None)
    except (ImportError, OSError):
        return None


def _filter_system_calls(libc: Any) -> None:
    import ctypes

    libc.prctl(_PARENT_DEATH_SIGNAL, _SIGKILL, 0, 0, 0)
    libc.prctl(_NO_NEW_PRIVS, 1, 0, 0, 0)
    if os.uname().machine not in _CALLS or sys.maxsize < 2**32:
        return
    program = _program(*_CALLS[os.uname().machine])
    buffer = ctypes.create_string_buffer(program, len(program))
    filters = struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(buffer))
    libc.prctl(_SET_SECCOMP, _SECCOMP_FILTER, ctypes.c_char_p(filters), 0, 0)


def _program(architecture: int, calls: tuple[int, ...]) -> bytes:
    """Return a BPF program that allows these system calls and fails all others."""
    load, equal, give = 0x20, 0x15, 0x06
    lines = [(load, 0, 0, 4), (equal, 1, 0, architecture), (give, 0, 0, _FAIL), (load, 0, 0, 0)]
    lines += [(equal, len(calls) - number, 0, call) for number, call in enumerate(calls)]
    lines += [(give, 0, 0, _FAIL), (give, 0, 0, _ALLOW)]
    return b"".join(struct.pack("HBBI", *line) for line in lines)
