"""What the page shows about the open lesson."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from picam_infer.core import PicamError
from picam_infer.inference import preprocess

if TYPE_CHECKING:
    from picam_infer.training.teach.lesson import Lesson
    from picam_infer.training.teach.report import Report


def lesson_json(lesson: Lesson) -> dict[str, Any]:
    """Return a lesson's name, what it looks at, its classes, and the room that its pictures take (bytes)."""
    counts = lesson.classes()
    chain = msgspec.to_builtins(lesson.chain)
    return {
        "name": lesson.name,
        "base": lesson.network.name,
        "chain": str(chain["chain"]),
        "region": msgspec.to_builtins(lesson.chain.roi),
        "aspect": preprocess.aspect(lesson.chain, lesson.network.card.input),
        "classes": [{"label": label, "pictures": count} for label, count in counts.items()],
        "pictures": sum(counts.values()),
        "bytes": lesson.size,
        "max_bytes": lesson.most,
        "undo": lesson.teacher.undoes,
    }


def pictures_json(lesson: Lesson, like: dict[str, str]) -> list[dict[str, Any]]:
    """Return a lesson's pictures, the oldest first; `like`: the classes that odd ones are like, by id."""
    return [
        {"id": one.id, "label": one.label, "bytes": one.size} | ({"like": like[one.id]} if one.id in like else {})
        for one in lesson.pictures()
    ]


def problem_json(error: PicamError | None) -> dict[str, str] | None:
    """Return why something could not be taught."""
    return {"reason": error.message, "hint": error.hint} if error else None


def report_json(report: Report) -> dict[str, Any]:
    """Return what the page shows of a report."""
    said = report.as_json()
    return {key: said[key] for key in ("pictures", "accuracy", "left_out", "rejects", "mixed_up", "suspicious")}
