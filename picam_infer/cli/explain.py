"""`picam-infer explain`: what a model was given, what it answered, and what in the picture made it say so."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import msgspec
import numpy as np

from picam_infer.cli import argument_types
from picam_infer.cli.help_format import WrittenHelpFormatter
from picam_infer.config import Decide
from picam_infer.core import Pixels, best, percent
from picam_infer.imaging import decode
from picam_infer.imaging.pictures import as_frame, read_picture, write_picture
from picam_infer.inference.explanation import Explainer, Explanation
from picam_infer.inference.postprocess import Postprocessor
from picam_infer.models import bundle as bundles
from picam_infer.models.bundle import Bundle
from picam_infer.outputs import text
from picam_infer.platform.terminal import say, say_json

_DESCRIPTION = """\
Explain a model's answer to a picture. The PNG shows the picture with the part that the network looks at, the network's
input, and what in it counts for the answer (red) or against it (blue), with the numbers below.
If the answers differ from those in a browser or a script, the cause is nearly always a different crop, order of colours
or scaling: compare these with what the other program does."""
_SIDE_PX = 360
_GAP_PX = 16
_TEXT_PX = 18
_ROW_PX = 26
_MARGIN_PX = 100
_INK = (235, 235, 235)
_GROUND = 32
_MOST_ROWS = 8


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare `explain`'s options."""
    parser.description = _DESCRIPTION
    parser.formatter_class = WrittenHelpFormatter
    parser.add_argument("picture", type=Path, metavar="PICTURE", help="a picture file")
    parser.add_argument(
        "-m", "--model", default="digits", metavar="M", help="a model's name or folder (default: digits)"
    )
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        metavar="PNG",
        help="the file to draw (default: PICTURE-explained.png in the current folder)",
    )
    parser.add_argument("--label", metavar="CLASS", help="the class to explain (default: the most likely one)")
    parser.add_argument(
        "--roi", type=argument_types.region, metavar="[X,Y,]SIZE", help="the square to look at: see classify"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def main(args: argparse.Namespace) -> int:
    """Explain one picture. Raises `PicamError`."""
    model = bundles.load(args.model)
    chain = model.card.preprocess
    if args.roi:
        chain = msgspec.structs.replace(chain, roi=args.roi)
    frame = as_frame(read_picture(args.picture), name=str(args.picture))
    explainer = Explainer(model, chain)
    try:
        found = explainer(frame, args.label)
    finally:
        explainer.close()
    target = args.output or Path(f"{args.picture.stem}-explained.png")
    said = lines(found)
    write_picture(drawn(decode.bgr(frame), found, said), target, "-o")
    if args.json:
        content = {"image": str(args.picture), "model": model.name, **found.as_json(), "png": str(target)}
        say_json(content)
        return 0
    say(f"{args.picture}: {model.name} says {_answer(model, found)}")
    for heading, line in said:
        say(f"  {heading:<9} {line}")
    say(f"  {'drawn':<9} {target}")
    return 0


def _answer(model: Bundle, found: Explanation) -> str:
    """Return the model's final answer: its most likely class, or its values."""
    if model.card.task == "regression":
        decided = Postprocessor.of(model)(found.scores, Decide())
        return ", ".join(f"{value.label}: {value.figure}" for value in decided.top)
    return model.labels[best(found.scores, 1)[0]]


def lines(found: Explanation) -> list[tuple[str, str]]:
    """Return the report as headings and texts, for a terminal and below the pictures."""
    box, n, network, chain = found.box, found.numbers, found.network, found.chain
    width, height = found.picture
    part = f"{box.width}×{box.height} of it at {box.x}, {box.y}"
    mean = ", ".join(f"{value:.3g}" for value in n.mean)
    scaled = f"pixel × {_figures(chain.get('scale'))}{_added(chain.get('offset'))}"
    size = f"{network.width}×{network.height}"
    reading = "a softmax is applied" if found.reading == "softmax" else "used as they are"
    said = [
        ("picture", f"{width}×{height}; {part} is looked at (fit: {found.fit})"),
        ("input", f"{size}, {found.colour}, {network.layout}, chain {chain.get('chain')}"),
        ("numbers", f"{scaled}: {n.least:.4g} … {n.most:.4g} possible, {n.low:.4g} … {n.high:.4g} here, mean {mean}"),
        ("outputs", f"{len(found.raw)}, {reading}"),
    ]
    order = best(found.scores, _MOST_ROWS)
    said += [("", f"{found.labels[at]}: {found.raw[at]:.4g} → {found.scores[at]:.4f}") for at in order]
    if len(found.scores) > len(order):
        said.append(("", f"… and {len(found.scores) - len(order)} more"))
    x, y = found.peak
    about = found.labels[found.chosen]
    if found.drop > 0:
        where = f"{percent(x)} from the left and {percent(y)} from the top of the input"
        what = f"what is at {where} speaks most for {about}"
        said.append(("why", f"{what}: covering it lowers the score by {found.drop:.3f}"))
    else:
        said.append(("why", f"no single part of the input speaks for {about}: covering one does not lower its score"))
    most = "the strongest colour is what counts most, however little that is"
    said.append(("colours", f"red speaks for {about}, blue against it; {most}"))
    return said


def _figures(value: Any) -> str:
    return ", ".join(f"{float(one):.3g}" for one in (value if isinstance(value, list | tuple) else [value]))


def _added(offset: Any) -> str:
    """Return what is added to a pixel: ` − 1`, or nothing for 0."""
    numbers = [float(one) for one in (offset if isinstance(offset, list | tuple) else [offset])]
    if not any(numbers):
        return ""
    minus = all(one <= 0 for one in numbers)
    return f" {'−' if minus else '+'} {_figures([-one if minus else one for one in numbers])}"


def drawn(picture: Pixels, found: Explanation, said: Sequence[tuple[str, str]]) -> Pixels:
    """Return the three pictures side by side and the lines below them, BGR."""
    panels = [("the picture", _marked(picture, found)), ("the network's input", found.seen()),
              (f"what speaks for {found.labels[found.chosen]}", found.heat())]  # fmt: skip
    top = _GAP_PX + _ROW_PX
    width, below = 3 * _SIDE_PX + 4 * _GAP_PX, top + _SIDE_PX + _GAP_PX
    room = width - _MARGIN_PX - 2 * _GAP_PX
    rows = [(heading if at == 0 else "", part)
            for heading, line in said for at, part in enumerate(text.wrap(line, room, _TEXT_PX))]  # fmt: skip
    sheet = np.full((below + _ROW_PX * len(rows) + _GAP_PX, width, 3), _GROUND, np.uint8)
    for at, (title, panel) in enumerate(panels):
        x = _GAP_PX + at * (_SIDE_PX + _GAP_PX)
        _say(sheet, title, (x, _GAP_PX), _SIDE_PX)
        _fit(sheet, panel, x, top)
    for at, (heading, line) in enumerate(rows):
        y, x = below + _ROW_PX * at, _GAP_PX + _MARGIN_PX
        _say(sheet, heading, (_GAP_PX, y), _MARGIN_PX)
        _say(sheet, line, (x, y), room)
    return sheet


def _say(sheet: Pixels, line: str, at: tuple[int, int], room_px: int) -> None:
    if line:
        text.write(sheet, text.shorten(line, room_px, _TEXT_PX), at, _TEXT_PX, _INK)


def _marked(picture: Pixels, found: Explanation) -> Pixels:
    """Return the picture, darker where the network does not look."""
    dark = (picture * 0.35).astype(np.uint8)
    box = found.box
    rows, columns = slice(box.y, box.y + box.height), slice(box.x, box.x + box.width)
    dark[rows, columns] = picture[rows, columns]
    return dark


def _fit(sheet: Pixels, panel: Pixels, x: int, y: int) -> None:
    """Fit a picture into its square, keeping its proportions; a small one is enlarged with visible pixels."""
    factor = _SIDE_PX / max(panel.shape[:2])
    size = (max(1, round(panel.shape[1] * factor)), max(1, round(panel.shape[0] * factor)))
    how = cv2.INTER_NEAREST if factor > 1 else cv2.INTER_AREA
    shown = cv2.resize(panel, size, interpolation=how)
    top, left = y + (_SIDE_PX - size[1]) // 2, x + (_SIDE_PX - size[0]) // 2
    sheet[top : top + size[1], left : left + size[0]] = shown
