"""The page of a starting service: after the first answer, without holding up who asks for it."""

from __future__ import annotations

import threading

from makers import until

from picam_infer.runtime.page_start import PageStart


def test_nothing_is_loaded_before_there_is_an_answer_and_the_picture_goes_on_while_it_is() -> None:
    loaded, told = threading.Event(), []
    page = PageStart(lambda: (told.append("loads"), loaded.wait(10)), lambda: told.append("opens"), latest_s=60.0)
    assert not page.step(answered=False) and not told
    assert not page.step(answered=True), "it does not wait for the libraries"
    assert not page.step(answered=False), "what has begun goes on without another answer"
    loaded.set()
    until(lambda: page.step(answered=False), 10)
    assert page.step(answered=True) and told == ["loads", "opens"], "once"


def test_without_an_answer_it_opens_all_the_same() -> None:
    told: list[str] = []
    page = PageStart(lambda: None, lambda: told.append("opens"), latest_s=0.05)
    until(lambda: page.step(answered=False), 10)
    assert told == ["opens"]


def test_what_was_loaded_before_opens_at_once_and_in_the_callers_thread() -> None:
    told: list[threading.Thread] = []
    page = PageStart(lambda: told.clear(), lambda: told.append(threading.current_thread()), latest_s=0.0)
    assert page.step(answered=False) and told == [threading.current_thread()]


def test_opening_reports_a_missing_library() -> None:
    def load() -> None:
        raise ModuleNotFoundError("aiohttp")

    told: list[str] = []
    page = PageStart(load, lambda: told.append("opens"), latest_s=60.0)
    until(lambda: page.step(answered=True), 10)
    assert told == ["opens"]
