"""`picam-infer classify`: pictures instead of a camera, through the same chain."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from picam_infer.cli import argument_types, engine_options
from picam_infer.config import Decide, EngineSettings
from picam_infer.core import Frame, NoInput, PicamError, Pixels, Prediction, Result, percent
from picam_infer.imaging import picture_files, region
from picam_infer.imaging.pictures import as_frame, read_picture, write_picture
from picam_infer.inference import engines
from picam_infer.inference.classifier import Answer, Classifier
from picam_infer.inference.evaluation import Evaluation, class_of
from picam_infer.models.bundle import Bundle, Chain
from picam_infer.platform.paths import cache_folder
from picam_infer.platform.terminal import say, say_json

_UNKNOWN = "unknown"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare `classify`'s options."""
    parser.add_argument("image", nargs="+", type=Path, metavar="PICTURE", help="a picture, or a folder of pictures")
    engine_options.add_arguments(parser)
    parser.add_argument("--roi", type=argument_types.region, metavar="[X,Y,]SIZE",
                        help="the square to look at: SIZE is its side as a share of the picture's height, X and Y its "
                        "centre as shares of width and height (default: the model's own)")  # fmt: skip
    parser.add_argument(
        "--top", type=argument_types.positive, metavar="N", help="how many classes to print (default: 3)"
    )
    parser.add_argument(
        "--threshold",
        type=argument_types.probability,
        metavar="P",
        help="below this probability the answer is unknown (default: 0.6)",
    )
    parser.add_argument("--save-input", type=argument_types.lossless, metavar="PNG",
                        help="save exactly what the network sees; of further pictures as PNG-2, PNG-3 …")  # fmt: skip
    parser.add_argument(
        "--report",
        action="store_true",
        help="for folders named after the classes, print accuracy and confusion matrix at the end",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object per line")


def main(args: argparse.Namespace) -> int:
    """Classify every picture; 0 when all could be read, else the exit code of the first that could not."""
    model, chain, decide = engine_options.chosen(args)
    if args.roi:
        chain = msgspec.structs.replace(chain, roi=args.roi)
    settings = _for_pictures(decide, args)
    given = list(_pictures(args.image))
    evaluation = _evaluation(args, model, given)
    # Speed does not matter here: single precision, which some processors' fastest mode changes by a thousandth.
    engine = engines.open_engine(engine_options.settings(args, EngineSettings(precision="f32")), model, cache_folder())
    classifier = Classifier.of(model, engine, chain=chain, settings=settings)
    try:
        code = _classify(args, model, classifier, given, evaluation)
    finally:
        classifier.close()
    if evaluation:
        _report(evaluation, args.json)
    return code


def _classify(
    args: argparse.Namespace, model: Bundle, classifier: Classifier, given: Sequence[tuple[Path, Path]],
    evaluation: Evaluation | None,
) -> int:  # fmt: skip
    """Classify and print; returns the exit code."""
    code, hinted = 0, args.roi is not None
    for seq, (path, root) in enumerate(given):
        try:
            frame = as_frame(read_picture(path), seq, str(path))
        except PicamError as error:
            say(f"picam-infer classify: {error}", error=True)
            code = code or error.exit_code
            continue
        classifier.reset()
        answer = classifier.answer(frame, keep_input=args.save_input is not None)
        result = classifier.decide(answer, classifier.settings)
        _print(result, _rejected(model, answer), args.json)
        if result.label is None and not hinted and (hint := _small(model, classifier.chain, frame)):
            hinted = True
            say(f"picam-infer classify: {hint}", error=True)
        if evaluation:
            _count(evaluation, class_of(path, root, model.labels), result, path.parent.name)
        if result.input_image is not None:
            _save(result.input_image, args.save_input, seq)
    return code


def _for_pictures(decide: Decide, args: argparse.Namespace) -> Decide:
    """Return how to decide: each picture for itself, whatever came before it."""
    threshold = decide.threshold if args.threshold is None else args.threshold
    return Decide(top=args.top or decide.top, threshold=threshold, margin=decide.margin)


def _report(evaluation: Evaluation, as_json: bool) -> None:
    if as_json:
        say_json({"report": evaluation.as_json()})
        return
    for line in evaluation.lines():
        say(line)


def _pictures(paths: list[Path]) -> Iterator[tuple[Path, Path]]:
    """Yield each picture with the argument it came from: a folder, or itself. Raises `NoInput`."""
    for path in paths:
        if not picture_files.is_folder(path):
            yield path, path
            continue
        found = picture_files.find(path)
        if found.left_out:
            say(f"picam-infer classify: {found.remark(path)}", error=True)
        yield from ((picture, path) for picture in found.pictures)


def _evaluation(args: argparse.Namespace, model: Bundle, given: list[tuple[Path, Path]]) -> Evaluation | None:
    """Return the counter of answers, if a report was asked for. Raises `PicamError` if no picture's class is known."""
    if not args.report:
        return None
    if model.card.task == "regression":
        raise PicamError(f"{model.name} answers with values, not with classes", "--report is for classes")
    if not any(class_of(path, root, model.labels) for path, root in given):
        if missing := next((path for path, _ in given if not path.exists()), None):
            raise NoInput(f"there is no {missing}", "check the name")
        names = ", ".join(model.labels[:4]) + (" …" if len(model.labels) > 4 else "")
        raise PicamError("no picture is in a folder named after one of the model's classes",
                         f"for --report put them into folders: {names}")  # fmt: skip
    return Evaluation(model.labels, model.card.reject)


def _count(evaluation: Evaluation, truth: str | None, result: Result, folder: str) -> None:
    """Count a picture; if several classes may apply, any one of them counts as right."""
    said = truth if truth in result.labels else next(iter(result.labels), None)
    evaluation.add(truth, said, result.likeliest, folder)


def _rejected(model: Bundle, answer: Answer) -> Prediction | None:
    """Return how likely it is none of the classes, by the model's own class for that; None: it has none."""
    if model.card.reject not in model.labels:
        return None
    return Prediction(_UNKNOWN, float(answer.scores[model.labels.index(model.card.reject)]))


def _small(model: Bundle, chain: Chain, frame: Frame) -> str:
    """Return the advice for a picture that is hardly larger than the network's input, of which it sees a part only."""
    share, size = region.of(chain.roi).size, model.card.input
    if share == 1 or frame.height > 2 * size.height:
        return ""
    part = f"only {percent(share)} of the height of {frame.name} ({frame.width}×{frame.height} pixels)"
    return f"{part} is looked at; --roi 1 looks at all of it"


def _print(result: Result, rejected: Prediction | None, as_json: bool) -> None:
    if as_json:
        say_json(result.as_json())
        return
    if result.value is not None:
        said = ", ".join(f"{name} {figure}" for name, figure in result.said())
    else:
        likely = sorted([*result.top, *([rejected] if rejected else [])], key=lambda p: p.score, reverse=True)
        classes = ", ".join(f"{p.label} {percent(p.score)}" for p in likely)
        said = f"{result.label if result.label is not None else _UNKNOWN}  ({classes})"
    say(f"{result.name}: {said}  {result.infer_ms:.1f} ms on {result.engine}")


def _save(input_image: Pixels, path: Path, seq: int) -> None:
    target = path if seq == 0 else path.with_stem(f"{path.stem}-{seq + 1}")
    write_picture(input_image, target, "--save-input")
