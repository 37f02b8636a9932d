"""Signals that are nobody's business: the C library keeps two for its threads."""

LIBRARYS_OWN = 1 << 31 | 1 << 32
"""Signals 32 and 33 in the masks of /proc: whatever make starts ignores them, and no program can change that.

glibc's posix_spawn leaves them so (sysdeps/unix/sysv/linux/spawni.c), and its sigaction refuses them.
"""
