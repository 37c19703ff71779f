"""Errors that say that memory ran out, or that a part of the program cannot be loaded; and what to do about them."""

from __future__ import annotations

import errno
from collections.abc import Iterator

REMEDY = "close other programs, or allow this one more (ulimit -v, or MemoryMax of its service)"
_SAID = ("bad_alloc", "failed to map segment", "annot allocate memory")
"""By a C++ library, the dynamic linker and the C library."""


def is_short(error: BaseException) -> bool:
    """Whether an error, or one that it comes from, says that there is not enough memory."""
    return any(
        isinstance(one, MemoryError)
        or (isinstance(one, OSError) and one.errno == errno.ENOMEM)
        or any(said in str(one) for said in _SAID)
        for one in _chain(error)
    )


def told(error: BaseException) -> str | None:
    """Return one line for an error that is no mistake of this program: no memory, or something cannot be loaded.

    None: it is another error.
    """
    if is_short(error):
        return f"there is not enough memory; {REMEDY}"
    loading = [one for one in _chain(error) if isinstance(one, ImportError)]
    if not loading:
        return None
    # The first cause says what is missing; what follows it may be a page of advice.
    why = (str(loading[-1]).strip() or type(loading[-1]).__name__).splitlines()[0]
    return f"a part of the program cannot be loaded ({why}); install picam-infer, or the library that is named, again"


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and those that it comes from."""
    one: BaseException | None = error
    while one is not None:
        yield one
        one = one.__cause__ or one.__context__
