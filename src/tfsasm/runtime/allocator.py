"""What the C library does with freed memory: keeps it for the next frame, or gives it back."""

import ctypes
import sys

_TRIM_THRESHOLD, _MMAP_MAX, _ARENA_MAX = -1, -4, -8  # <malloc.h>

_HEAPS = 2


def keep_freed_memory() -> bool:
    """Tell glibc to serve large blocks from its heap and not to give freed ones back.

    A network frees and allocates the same large buffers in each frame; by default each goes back
    to the system and comes in anew, page by page: 5,000 faults a frame of `tiny`, 17 after this. It
    concerns the whole process, so a library must not do it; the command line does. Returns whether
    it took effect (glibc only).
    """
    # A threshold of -1: the largest int would still give back 2 GB that lie free together.
    return _glibc("mallopt", _MMAP_MAX, 0) and _glibc("mallopt", _TRIM_THRESHOLD, -1)


def share_heaps() -> bool:
    """Have glibc serve all threads from two heaps instead of eight for each core.

    What many threads free lies scattered in as many heaps, which grow for hours. To be called
    before the threads are there. Returns whether it took effect.
    """
    return _glibc("mallopt", _ARENA_MAX, _HEAPS)


def give_freed_memory_back() -> bool:
    """Have glibc return to the system what is free in its heaps, of which each thread has its own.

    Otherwise most of it stays: threads that come and go leave ever more of them half empty. Returns
    whether there was anything to return.
    """
    return _glibc("malloc_trim", 0)


def _glibc(name: str, *given: int) -> bool:
    """What a function answers; false where there is none."""
    try:
        return sys.platform.startswith("linux") and bool(getattr(ctypes.CDLL(None), name)(*given))
    except (OSError, AttributeError):
        return False
