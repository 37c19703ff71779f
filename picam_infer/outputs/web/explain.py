"""Explains the newest picture's answer for the page, with a second copy of the network, one visitor at a time."""

from __future__ import annotations

import asyncio
import base64
import threading
from collections.abc import Callable
from typing import Any, TypeVar

from picam_infer.core import BadFrame, Frame, PicamError, Pixels
from picam_infer.imaging import pictures
from picam_infer.models.bundle import Bundle, Chain
from picam_infer.outputs.web.access import Refused
from picam_infer.platform.priority import lower_priority
from picam_infer.runtime.state import State

T = TypeVar("T")

BUDGET_S = 8.0
"""About how many seconds covering the picture piece by piece may take; a slow network gets fewer pieces."""


class Why:
    """Answers one visitor at a time; others are refused meanwhile."""

    def __init__(self) -> None:
        self._asked = False

    async def answer(self, state: State) -> dict[str, Any]:
        """Return `Explanation.as_json` with its pictures as PNG in base64. Raises `Refused`."""
        if (lacking := state.no_picture) is not None:
            raise Refused(503, lacking.what, lacking.remedy)
        newest = state.frames.peek()
        if state.bundle is None or newest is None:  # the picture may just have gone
            raise Refused(503, "no model yet" if state.bundle is None else "no picture yet", "try again in a moment")
        if self._asked:
            raise Refused(503, "somebody else is waiting for an explanation", "try again", wait_s=2)
        self._asked = True
        bundle, chain, frame = state.bundle, state.tuning.preprocess, newest[1]
        try:
            return await _in_a_thread(lambda: _explained(bundle, chain, frame))
        except (PicamError, BadFrame) as error:
            raise Refused(503, str(error)) from error
        finally:
            self._asked = False


def _explained(bundle: Bundle, chain: Chain, frame: Frame) -> dict[str, Any]:
    from picam_infer.inference.explanation import Explainer  # this loads OpenVINO, which the page alone does not need

    explainer = Explainer(bundle, chain, threads=1)  # the other processor cores go on with recognition
    try:
        found = explainer(frame, budget_s=BUDGET_S)
    finally:
        explainer.close()
    images = {"input_png": _png(found.seen()), "heat_png": _png(found.heat())}
    return {"captured": frame.captured, "model": bundle.name, **found.as_json(), **images}


def _png(picture: Pixels) -> str:
    return base64.b64encode(pictures.png(picture)).decode("ascii")


async def _in_a_thread(work: Callable[[], T]) -> T:
    """Run in a thread of its own, since the event loop's few worker threads must stay free for short work."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def tell(result: T | None, error: BaseException | None) -> None:
        if done.cancelled():
            return
        if error is not None:
            done.set_exception(error)
        else:
            done.set_result(result)  # type: ignore[arg-type]

    def run() -> None:
        lower_priority()
        result, error = None, None
        try:
            result = work()
        except Exception as problem:  # the top of a thread: whoever awaits gets it
            error = problem
        try:
            loop.call_soon_threadsafe(tell, result, error)
        except RuntimeError:
            return  # the page has closed meanwhile

    threading.Thread(target=run, name="explain", daemon=True).start()
    return await done
