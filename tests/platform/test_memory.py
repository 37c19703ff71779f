"""Errors that say that memory ran out, as each library says it."""

from __future__ import annotations

import errno

import pytest

from picam_infer.platform import memory


def raised(*errors: Exception) -> Exception:
    """Return the last of several errors, each of which came from the one before."""
    try:
        if len(errors) > 1:
            raise errors[-1] from raised(*errors[:-1])
        raise errors[0]
    except Exception as error:
        return error


@pytest.mark.parametrize("errors", [
    [MemoryError()],
    [OSError(errno.ENOMEM, "Cannot allocate memory")],
    [RuntimeError("Exception from src/core.cpp:123: std::bad_alloc")],
    [ImportError("libssl.so.3: failed to map segment from shared object")],
    [MemoryError(), ImportError("numpy cannot be imported. IMPORTANT: PLEASE READ THIS"), ValueError("x")],
])  # fmt: skip
def test_what_each_library_says_of_too_little_memory(errors: list[Exception]) -> None:
    assert memory.is_short(raised(*errors))
    told = memory.told(raised(*errors))
    assert told is not None and told.startswith("there is not enough memory; close other programs")


def test_what_cannot_be_loaded_is_named_without_the_advice_around_it() -> None:
    why = "libGL.so.1: cannot open shared object file: No such file or directory"
    told = memory.told(raised(ImportError(why), ImportError("IMPORTANT: PLEASE READ THIS\nfor advice\n")))
    assert told is not None and f"cannot be loaded ({why}); install" in told and "\n" not in told


def test_other_errors_stay_what_they_are() -> None:
    assert memory.told(raised(ValueError("x"), KeyError("y"))) is None
