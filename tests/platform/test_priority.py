"""Twin of `picam_infer.platform.priority`: the kernel tells a thread's own niceness."""

from __future__ import annotations

import os
import threading

from picam_infer.platform.priority import lower_priority


def test_only_the_calling_thread_gives_way() -> None:
    before, told = os.getpriority(os.PRIO_PROCESS, 0), []

    def work() -> None:
        lower_priority()
        told.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert told == [min(19, before + 5)]
    assert os.getpriority(os.PRIO_PROCESS, 0) == before
