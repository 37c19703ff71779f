"""What one thread reads and another closes is released once, and never under the reader's hands."""

from __future__ import annotations

import threading

import pytest

from picam_infer.sources.deferred_close import DeferredClose


def test_nobody_reads_and_it_is_released_at_once_and_once() -> None:
    released: list[int] = []
    door = DeferredClose(lambda: released.append(1))
    with door.reading() as is_open:
        assert is_open and not door.closed
    assert door.close() is False and door.closed and released == [1]
    assert door.close() is False and released == [1]
    with door.reading() as is_open:
        assert not is_open
    assert released == [1]


@pytest.mark.parametrize("fails", [False, True])
def test_a_reader_releases_it_when_it_comes_back(fails: bool) -> None:
    released: list[str] = []
    door = DeferredClose(lambda: released.append(threading.current_thread().name))
    inside, go_on = threading.Event(), threading.Event()

    def read() -> None:
        try:
            with door.reading():
                inside.set()
                go_on.wait(10)
                if fails:
                    raise OSError
        except OSError:
            pass

    reader = threading.Thread(target=read, name="reader")
    reader.start()
    assert inside.wait(10)
    assert door.close() is True and released == [], "never under its hands"
    go_on.set()
    reader.join(10)
    assert released == ["reader"]
