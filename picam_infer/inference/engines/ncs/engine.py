"""Inference on a stick: input images out through shared memory, answers back, every step with a deadline."""

from __future__ import annotations

import contextlib
import mmap
import threading
import time
from collections import deque
from collections.abc import Callable

import numpy as np

from picam_infer.core import Disconnected, Pixels, Scores, Telemetry
from picam_infer.inference.engines.ncs import causes
from picam_infer.inference.engines.ncs.child import CLOSE, LOOK_EVERY_S, QUEUE, READ, RESULT, SLOTS
from picam_infer.inference.engines.ncs.process import Process
from picam_infer.inference.engines.sticks import ONE_AT_A_TIME, SECOND, Usb, library_users, name_processes, trouble
from picam_infer.inference.engines.taught_layers import TaughtLayers
from picam_infer.models.bundle import Bundle

# Seconds; a healthy stick needs 0.3 (a Pi 3's cold SD card: 5), 0.01 (after a reset 1.5), 3.7 and 0.1.
DEADLINES_S = {"import": 15.0, "enumerate": 6.0, "waiting": LOOK_EVERY_S + 5, "open": 10.0, "allocate": 5.0}
CLOSING_S = 0.6
Said = Callable[[str], None]

slowness = {"import": 1.0}
"""How much a step's deadline is extended: an import that missed its deadline gets twice the time at the next try."""
SLOWEST = 4.0

failed_sticks = set[str]()
"""Sticks that could not be opened last time: the next child tries the others first."""


class Ncs:
    """A bundle's graph on a stick; a fresh child process for every instance.

    A taught bundle's graph ends with the features; the layers that were taught run here, on the CPU.

    `stick` is a name (`2-ma2450`) or port (`2`), or empty for the first free one. `wait`: wait until one is plugged
    in. `noticed` is called with what was done to reach it. Raises `Disconnected`, also when `stopping` is set.
    """

    def __init__(
        self,
        bundle: Bundle,
        stick: str = "",
        deadline_s: float = 2.0,
        *,
        wait: bool = False,
        usb: Usb | None = None,
        stopping: threading.Event | None = None,
        noticed: Said | None = None,
        stage: Said | None = None,
    ) -> None:
        self.depth = SLOTS
        self.name = "ncs"
        self.telemetry = Telemetry(0.0, 0)
        self._softmax = bundle.card.softmax
        self._normalisation = bundle.card.normalisation
        self._deadline_s = deadline_s
        self._underway: deque[int] = deque()
        self._next_slot = 0
        if bundle.graph is None:
            raise Disconnected(f"model {bundle.name} has no graph for the stick", causes.make_graph(bundle))
        self._taught = TaughtLayers(bundle) if bundle.card.taught is not None else None
        usb = usb or Usb()
        for sentence in usb.revive(stick.partition("-")[0]):
            if noticed:
                noticed(sentence)
        card = bundle.card.input
        answers = self._taught.count if self._taught is not None else len(bundle.labels)
        sizes = (4 * card.height * card.width * card.channels, 4 * answers)
        self._process = Process(bundle.graph, stick, sizes, wait=wait, last=sorted(failed_sticks), stopping=stopping)
        try:
            self._start(stage)
            self._check_sizes(bundle)
        except Disconnected as error:
            self._give_up(stopping is not None and stopping.is_set())
            raise _better(error, usb, stick, self._process.step) from error
        except BaseException:
            self._process.end()
            raise

    def _give_up(self, stopping: bool) -> None:
        """End a child that could not open its stick, and note which one that was."""
        if self._process.step == "open" and not stopping:
            failed_sticks.add(self._process.trying)
        with contextlib.suppress(Disconnected):
            self._process.send(CLOSE)
        self._process.end(0.0 if stopping else _patience_s(self._process.step))

    def _start(self, stage: Said | None) -> None:
        while True:
            step, began_s = self._process.step, time.monotonic()
            limit_s = max(self._deadline_s, DEADLINES_S.get(step, 0.0) * slowness.get(step, 1.0))
            try:
                event = self._process.next_event(limit_s)
            except Disconnected:
                if step in slowness and time.monotonic() - began_s > limit_s:
                    slowness[step] = min(SLOWEST, 2 * slowness[step])
                raise
            if "ready" in event:
                break
            if stage:
                stage(self._process.step)
        about = event["ready"]
        failed_sticks.discard(about["name"])
        self.name = f"ncs:{about['name']}"
        self._sizes: tuple[int, int] = tuple(about["sizes"])
        self._shape: list[int] = about["shape"]
        self.telemetry = Telemetry(about["temperature"], about["level"])

    def _check_sizes(self, bundle: Bundle) -> None:
        card, (size, out) = bundle.card.input, self._sizes
        shape = (card.height, card.width, card.channels)
        takes = "×".join(map(str, self._shape)) if len(self._shape) == 3 else f"{size // 4} values"
        if size != 4 * int(np.prod(shape)) or (self._shape and 1 not in shape and tuple(self._shape) != shape):
            asked = "×".join(map(str, shape))
            detail = f"the graph takes {takes}, model {bundle.name} gives {asked}"
            raise Disconnected.of(causes.explain("allocate", "INVALID_DATA_LENGTH", detail))
        if self._taught is not None and out != 4 * self._taught.count:
            detail = f"the graph answers {out // 4} values, model {bundle.name} has {self._taught.count} features"
            raise Disconnected("the graph belongs to another network: " + detail, causes.make_graph(bundle))
        if self._taught is None and out != 4 * len(bundle.labels):
            detail = f"the graph answers {out // 4} values, model {bundle.name} has {len(bundle.labels)} labels"
            raise Disconnected("the graph belongs to another model: " + detail, causes.COMPILE)
        self._process.step = "read"
        self._shared = mmap.mmap(self._process.memory, SLOTS * size + out)
        floats = np.frombuffer(self._shared, np.float32)
        inputs = floats[: SLOTS * size // 4].reshape(SLOTS, *shape)
        self._inputs, self._answer = inputs, floats[SLOTS * size // 4 :]

    @property
    def pid(self) -> int:
        """The child's process id."""
        return self._process.pid

    def submit(self, input_image: Pixels) -> None:
        """Start one inference on (H, W, C) uint8; the caller may reuse the buffer. Raises `Disconnected`."""
        slot, inputs = self._next_slot, self._inputs
        if not len(inputs):
            raise Disconnected("the stick was given back")
        self._normalisation.into(input_image, inputs[slot])
        self._process.send(QUEUE + bytes([slot]))
        self._underway.append(slot)
        self._next_slot = (slot + 1) % SLOTS

    def collect(self) -> Scores:
        """Wait for the oldest inference under way: probabilities, shape (classes,). Raises `Disconnected`."""
        self._underway.popleft()
        answer = self._answer
        self._process.send(READ)
        reply = self._process.receive(self._deadline_s)
        self.telemetry = Telemetry(*RESULT.unpack(reply))
        if self._taught is not None:
            return self._taught.scores(answer)
        scores: Scores = answer.copy()
        if self._softmax:
            powers = np.exp(scores - scores.max())
            scores = powers / powers.sum()
        return scores

    def close(self) -> None:
        """Give the stick back within a second, by force where it must be. May be called from another thread."""
        patience_s = CLOSING_S
        try:
            self._process.send(CLOSE)
        except Disconnected:
            patience_s = 0.0
        self._process.end(patience_s)
        self._inputs, self._answer = self._inputs[:0].copy(), self._answer[:0].copy()
        with contextlib.suppress(BufferError):  # another thread is in submit or collect: freed when that ends
            self._shared.close()


def _patience_s(step: str) -> float:
    # A stick that refused a graph works; give the child the time to close it (libmvnc sleeps 1 s over that).
    return 1.5 if step == "allocate" else 0.0


def _better(error: Disconnected, usb: Usb, stick: str, step: str) -> Disconnected:
    """Return a better reason than libmvnc gives, if one is known: another holder, a missing udev rule, an NCS2."""
    if step not in ("import", "enumerate", "open"):
        return error
    listed = usb.sticks()
    first_generation = [found for found in listed if found.product != SECOND]
    for found in first_generation or listed:
        if not stick or stick.partition("-")[0] == found.port:
            cause = trouble(found)
            if cause:
                return Disconnected(f"{cause.what} [{error.message}]", cause.remedy)
    doubtful = " while opening" in error.message and "ERROR" in error.message
    if doubtful and (others := library_users()):
        return Disconnected(f"the stick is held by {name_processes(others)} [{error.message}]", ONE_AT_A_TIME)
    return error
