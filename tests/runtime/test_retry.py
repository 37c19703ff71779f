"""How long to wait before the next try."""

from __future__ import annotations

import threading

from picam_infer.runtime.retry import BackOff


def test_waits_grow_stay_at_the_longest_and_start_over() -> None:
    back_off = BackOff((1.0, 2.0, 5.0))
    assert [back_off.next_s() for _ in range(5)] == [1, 2, 5, 5, 5]
    back_off.reset()
    assert back_off.next_s() == 1


def test_doubling_ends_at_the_longest_even_when_that_is_shorter_than_the_first() -> None:
    back_off = BackOff.doubling(0.5, 3.0)
    assert [back_off.next_s() for _ in range(5)] == [0.5, 1, 2, 3, 3]
    assert BackOff.doubling(0.5, 0.001).next_s() == 0.001


def test_a_receiver_may_ask_for_more_but_not_for_more_than_the_longest() -> None:
    back_off = BackOff.doubling(0.5, 60.0)
    assert back_off.next_s(at_least_s=10) == 10
    assert back_off.next_s(at_least_s=3600) == 60
    assert back_off.next_s() == 2, "a wish does not count as patience"


def test_the_spread_keeps_many_from_coming_back_in_step() -> None:
    waits_s = {BackOff((10.0,), spread=0.2).next_s() for _ in range(50)}
    assert len(waits_s) > 10 and min(waits_s) >= 8 and max(waits_s) <= 12


def test_a_wait_ends_with_the_program() -> None:
    stop = threading.Event()
    stop.set()
    assert BackOff((3600.0,)).wait(stop)
    assert not BackOff((0.0,)).wait(threading.Event())
