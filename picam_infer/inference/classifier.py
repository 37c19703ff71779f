"""A frame's way through a model: preprocess, infer, decide. The one place where a frame becomes a result."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

import msgspec
import numpy as np

from picam_infer.config import Decide
from picam_infer.core import Engine, Frame, Pixels, Preprocessor, Result, Scores, Telemetry
from picam_infer.imaging import decode
from picam_infer.inference import preprocess
from picam_infer.inference.guidance import Sight
from picam_infer.inference.postprocess import Postprocessor
from picam_infer.inference.preprocess import Decoder
from picam_infer.inference.stillness import Stillness
from picam_infer.models.bundle import Bundle, Chain


class Answer(msgspec.Struct, frozen=True, eq=False):
    """What the network said about one frame, before anything is decided."""

    frame: Frame
    scores: Scores
    """Shape (classes,)."""
    infer_ms: float
    input: Pixels | None
    """What the network saw, (H, W, C) uint8 in its own colour order, if that was to be kept."""
    sight: Callable[[], Sight] | None
    """Computes what the preprocessing noticed about the picture, for chains that measure something."""


class _Asked(msgspec.Struct, frozen=True, eq=False):
    """A frame whose answer is still under way."""

    frame: Frame
    input: Pixels | None
    sight: Callable[[], Sight] | None
    began_s: float


class Classifier:
    """A model on an engine. One thread uses it.

    `classify` is all that single pictures need. A loop that keeps the engine busy calls `submit` while it is `free`,
    and `collect` and `decide` for each answer.
    """

    def __init__(
        self, engine: Engine, build: Callable[[Chain], Preprocessor], postprocessor: Postprocessor, chain: Chain,
        settings: Decide | None = None, stillness: Stillness | None = None,
    ) -> None:  # fmt: skip
        """`postprocessor` may outlive this object, and with it its memory of earlier answers."""
        self.chain = chain
        """The preprocessing's settings; the next frame that is submitted uses what is set here."""
        self.settings = settings or Decide()
        """How `classify` decides."""
        self._engine = engine
        self._build = build
        self._postprocessor = postprocessor
        self._stillness = stillness
        self._preprocessor: tuple[Chain, Preprocessor] | None = None
        self._asked: deque[_Asked] = deque()

    @classmethod
    def of(
        cls, bundle: Bundle, engine: Engine, *, chain: Chain | None = None, settings: Decide | None = None,
        postprocessor: Postprocessor | None = None, decoder: Decoder = decode, stillness: Stillness | None = None,
    ) -> Classifier:  # fmt: skip
        """Return the classifier of a model on an engine that has it; `chain`: in place of the card's."""

        def build(chain: Chain) -> Preprocessor:
            return preprocess.build(chain, bundle.card.input, decoder)

        return cls(
            engine,
            build,
            postprocessor or Postprocessor.of(bundle),
            chain or bundle.card.preprocess,
            settings,
            stillness,
        )

    @property
    def engine(self) -> str:
        """The engine's name, as `Result.engine`."""
        return self._engine.name

    @property
    def telemetry(self) -> Telemetry | None:
        """The device's own readings, where it has any."""
        return self._engine.telemetry

    @property
    def under_way(self) -> int:
        """How many answers are still under way."""
        return len(self._asked)

    @property
    def free(self) -> bool:
        """Whether another frame may be submitted now."""
        return len(self._asked) < self._engine.depth

    def submit(self, frame: Frame, keep_input: bool = False, may_skip: bool = False) -> None:
        """Start on a frame; `keep_input`: its answer carries what the network saw. Raises `BadFrame` or `Disconnected`.

        `may_skip`: while the scene is still, the network need not be asked; then no answer is under way.
        """
        if self._preprocessor is None or self._preprocessor[0] is not self.chain:
            self._preprocessor = self.chain, self._build(self.chain)
            if self._stillness is not None:
                self._stillness.forget()
        prepare = self._preprocessor[1]
        if may_skip and self._rests(prepare, frame):
            return
        pixels = prepare(frame)
        if may_skip and self._stillness is not None and self._stillness.skips(pixels, self.chain):
            return
        kept = np.array(pixels) if keep_input else None
        self._asked.append(_Asked(frame, kept, getattr(prepare, "sight", None), time.monotonic()))
        self._engine.submit(pixels)

    def _rests(self, prepare: Preprocessor, frame: Frame) -> bool:
        glance = getattr(prepare, "glance", None)
        return self._stillness is not None and glance is not None and self._stillness.rests(lambda: glance(frame))

    def collect(self) -> Answer:
        """Wait for the oldest answer under way. Raises `Disconnected`."""
        scores = self._engine.collect()
        asked = self._asked.popleft()
        return Answer(asked.frame, scores, (time.monotonic() - asked.began_s) * 1e3, asked.input, asked.sight)

    def decide(self, answer: Answer, settings: Decide) -> Result:
        """Return the result for an answer, taking earlier answers into account."""
        frame = answer.frame
        decided = self._postprocessor(answer.scores, settings)
        picture = None if answer.input is None else preprocess.as_picture(answer.input, self.chain)
        return Result(
            seq=frame.seq,
            captured=frame.captured,
            monotonic_s=frame.monotonic_s,
            label=decided.label,
            score=decided.score,
            top=decided.top,
            engine=self._engine.name,
            infer_ms=answer.infer_ms,
            age_ms=(time.monotonic() - frame.monotonic_s) * 1e3,
            input_image=picture,
            frame=frame,
            name=frame.name,
            likeliest=self._postprocessor.likeliest(answer.scores),
        )

    def reset(self) -> None:
        """Forget earlier answers: the next ones are about something else."""
        if self._stillness is not None:
            self._stillness.forget()
        self._postprocessor.reset()

    def answer(self, frame: Frame, keep_input: bool = False) -> Answer:
        """Ask about one frame and wait. Raises `BadFrame` or `Disconnected`."""
        self.submit(frame, keep_input)
        return self.collect()

    def classify(self, frame: Frame, keep_input: bool = False) -> Result:
        """Return what is on one frame, regardless of those before it. Raises `BadFrame` or `Disconnected`."""
        self.reset()
        return self.decide(self.answer(frame, keep_input), self.settings)

    def scores(self, pixels: Pixels) -> Scores:
        """Return the network's answer (classes,) to an input (H, W, C) uint8 as it is. Raises `Disconnected`."""
        self._engine.submit(pixels)
        return self._engine.collect()

    def close(self) -> None:
        """Give the engine back."""
        self._engine.close()
