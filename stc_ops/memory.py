"""What the C library does with freed memory."""

from __future__ import annotations

import ctypes
import sys

# glibc's numbers of its options, from malloc.h.
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4

# In bytes. glibc takes an int, of which a negative one is a size beyond all.
_NEVER = -1
_TOP_PAD = 2**28


def keep_freed_memory() -> bool:
    """Let the process keep the memory of freed tensors for the next ones.

    glibc, the C library of most Linux systems, returns large freed blocks to the kernel. Each new
    tensor of that size is then paid for again in page faults: of a training step on the CPU that is
    a tenth. After this call blocks stay with the process, and large ones come from where small ones
    do; the process never shrinks. ``GLIBC_TUNABLES=glibc.malloc.mmap_max=0:...`` does the same to a
    process that is still to be started.

    Returns:
        Whether glibc has taken it: False with any other C library, which is left alone. Where
        another allocator serves the process, jemalloc say, it changes nothing.

    Tensors on other devices have allocators of PyTorch's, which keep freed memory anyway.
    """
    if not sys.platform.startswith("linux"):
        return False
    library = ctypes.CDLL(None)
    if not hasattr(library, "gnu_get_libc_version") or not hasattr(library, "mallopt"):
        return False
    options = ((_M_MMAP_MAX, 0), (_M_TRIM_THRESHOLD, _NEVER), (_M_TOP_PAD, _TOP_PAD))
    return all(library.mallopt(option, value) == 1 for option, value in options)
