"""The teacher: the same pictures make the same bundle, whatever happened on the way; every step can be taken back."""

from __future__ import annotations

import errno
import os
import threading
from pathlib import Path

import cv2
import lessons
import numpy as np
import pytest
from lessons import encoded
from makers import jpeg_frame

from picam_infer.config import Decide, EngineSettings
from picam_infer.core import Frame, PicamError, UsageError
from picam_infer.imaging import jpeg
from picam_infer.inference import engines, preprocess
from picam_infer.inference.postprocess import Postprocessor
from picam_infer.models import bundle as bundles
from picam_infer.models.bundle import Bundle
from picam_infer.platform import atomic_file
from picam_infer.training.teach.picture_set import PictureSet
from picam_infer.training.teach.teacher import Teacher

COLOURS = ("red", "green", "blue")


@pytest.fixture
def base(tmp_path: Path) -> Bundle:
    return lessons.backbone(tmp_path / "base")


@pytest.fixture
def teacher(base: Bundle, tmp_path: Path) -> Teacher:
    return Teacher(base, PictureSet(tmp_path / "set"))


def fill(teacher: Teacher, count: int = 6, colours: tuple[str, ...] = COLOURS) -> None:
    for at in range(count):
        for colour in colours:
            teacher.add(colour, encoded(colour, 100 * COLOURS.index(colour) + at), f"{colour}{at}.png")


def share_called(label: str | None, teacher: Teacher, colour: str | tuple[int, int, int]) -> float:
    """Return how many of 20 new pictures of a colour are called so."""
    called = [teacher.predict(teacher.features(frame(colour, 9000 + at))).label for at in range(20)]
    return called.count(label) / len(called)


def frame(colour: str | tuple[int, int, int], seed: int = 9000) -> Frame:
    picture = lessons.image(lessons.COLOURS[colour] if isinstance(colour, str) else colour, seed)
    return Frame(picture, "bgr", picture.shape[1], picture.shape[0], 0.0, 0.0, 0)


def files(bundle: Bundle) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in bundle.folder.iterdir()}


def test_a_picture_at_a_time_is_known_at_once(teacher: Teacher) -> None:
    for count in range(1, 9):
        for number, colour in enumerate(COLOURS):
            teacher.add(colour, encoded(colour, 100 * number + count), "x.png")
            for known in list(COLOURS)[: number + 1] if count == 1 else COLOURS:
                chances = teacher.predict(teacher.features(frame(known))).probabilities
                assert max(chances, key=chances.__getitem__) == known
    assert teacher.counts() == {"blue": 8, "green": 8, "red": 8}
    assert share_called(None, teacher, (0, 255, 255)) == 1.0


def test_the_bundle_is_the_same_whatever_happened_on_the_way(base: Bundle, tmp_path: Path) -> None:
    with Teacher(base, PictureSet(tmp_path / "one")) as straight:
        fill(straight)
        expected = files(straight.save(tmp_path / "a" / "m")[0])
    with Teacher(base, PictureSet(tmp_path / "two")) as winding:
        wrong = winding.add("red", encoded("white", 1), "w.png")
        fill(winding, 3, COLOURS[::-1])
        moved = winding.add("green", encoded("blue", 205), "blue5.png")
        fill(winding, 5)
        winding.relabel(moved.id, "blue")
        winding.remove(wrong.id)
        winding.rename_class("green", "grass")
        winding.rename_class("grass", "green")
        fill(winding)
        # The same picture came under another name first: names are not part of a bundle.
        assert files(winding.save(tmp_path / "b" / "m")[0]) == expected
    with Teacher(base, PictureSet(tmp_path / "two")) as again:
        assert files(again.save(tmp_path / "c" / "m")[0]) == expected
    taught = bundles.load(tmp_path / "a" / "m")
    with Teacher(taught, PictureSet(tmp_path / "two")) as grandchild:
        assert files(grandchild.save(tmp_path / "d" / "m")[0]) == expected


def test_the_bundle_runs_in_the_engine_and_says_what_numpy_says(teacher: Teacher, tmp_path: Path) -> None:
    fill(teacher)
    saved, _ = teacher.save(tmp_path / "m")
    bundle = bundles.load(saved.folder)
    layers, labels = teacher.head()
    assert bundle.labels == (*labels, "unknown") and bundle.card.reject == "unknown"
    engine = engines.open_engine(EngineSettings(kind="openvino", precision="f32"), bundle)
    prepare = preprocess.build(bundle.card.preprocess, bundle.card.input)
    said: list[bool] = []
    for colour in (*COLOURS, "white", (0, 255, 255)) * 4:
        one = frame(colour, 300 + len(said))
        engine.submit(prepare(one))
        scores = engine.collect()
        expected = layers.probabilities(teacher.features(one)[None])[0]
        np.testing.assert_allclose(scores, expected, atol=1e-5)
        label, top, _ = Postprocessor.of(bundle)(scores, Decide())
        said.append(label == (colour if colour in COLOURS else None))
        assert "unknown" not in [prediction.label for prediction in top]
    assert np.mean(said) >= 0.85


def test_the_card_says_what_was_taught_on_what(teacher: Teacher, base: Bundle, tmp_path: Path) -> None:
    fill(teacher, 4)
    teacher.add("only", encoded("white", 1), "w.png")
    card = bundles.load(teacher.save(tmp_path / "m")[0].folder).card
    assert card.taught is not None
    assert (card.taught.backbone, card.taught.features, len(card.taught.sha256)) == ("base", "described", 64)
    assert [(one.label, one.pictures) for one in card.taught.classes] == [
        ("blue", 4),
        ("green", 4),
        ("only", 1),
        ("red", 4),
    ]
    assert card.taught.classes[0].accuracy == 1.0 and card.taught.classes[2].accuracy is None
    assert card.preprocess == base.card.preprocess and card.input == base.card.input


def test_every_step_can_be_taken_back(teacher: Teacher) -> None:
    fill(teacher, 4)
    layers, features = teacher.head()[0], teacher.features(frame("red"))
    before = (teacher.counts(), teacher.pictures(), layers.probabilities(features[None])[0][:3])
    picture = teacher.pictures()[0]
    for change in (
        lambda: teacher.remove(picture.id),
        lambda: teacher.relabel(picture.id, "other"),
        lambda: teacher.remove_class("red"),
        lambda: teacher.rename_class("red", "crimson"),
        lambda: teacher.rename_class("red", "green"),
        lambda: teacher.add("new", encoded("white", 5), "n.png"),
    ):
        change()
        assert teacher.counts() != before[0]
        assert teacher.undo()
        assert (teacher.counts(), teacher.pictures()) == before[:2]
        now = teacher.predict(features).probabilities
        assert list(now.values()) == pytest.approx(before[2], abs=1e-9)
    for _ in range(12):
        assert teacher.undo()
    assert teacher.undo() is None and teacher.counts() == {}
    with pytest.raises(UsageError, match="nothing is taught yet"):
        teacher.predict(teacher.features(frame("red")))


def test_merging_classes_keeps_all_their_pictures(teacher: Teacher) -> None:
    fill(teacher, 3)
    teacher.rename_class("red", "blue")
    assert teacher.counts() == {"blue": 6, "green": 3}
    with pytest.raises(UsageError, match=r"no taught class 'red'.*blue, green"):
        teacher.remove_class("red")


def test_the_same_picture_is_taught_once_and_a_second_label_corrects_the_first(teacher: Teacher) -> None:
    data = encoded("red", 1)
    assert teacher.add("a", data, "x.png") == teacher.add("a", data, "y.png")
    teacher.add("b", data, "x.png")
    assert teacher.counts() == {"b": 1}


def test_invalid_pictures_and_labels_change_nothing(teacher: Teacher, tmp_path: Path) -> None:
    fill(teacher, 1)
    for data in (b"", b"junk", encoded("red", 1)[:80]):
        with pytest.raises(PicamError):
            teacher.add("red", data, "bad.png")
    for label in ("", " \n", "\x00"):
        with pytest.raises(UsageError, match="cannot be the name of a class"):
            teacher.add(label, encoded("red", 5), "a.png")
    with pytest.raises(UsageError, match="no taught picture"):
        teacher.remove("0123456789ab")
    assert teacher.counts() == {"blue": 1, "green": 1, "red": 1}


def test_a_full_folder_refuses_and_the_rest_goes_on(base: Bundle, tmp_path: Path) -> None:
    room = 4.5 * len(encoded("red", 0)) / 1e6
    teacher = Teacher(base, PictureSet(tmp_path / "set", room))
    with pytest.raises(PicamError, match="would take more than"):
        fill(teacher, 4)
    assert sum(teacher.counts().values()) == 4
    assert teacher.predict(teacher.features(frame("red"))).probabilities


def test_it_closes_although_its_folder_may_not_be_entered_any_more(
    teacher: Teacher, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(teacher, 1)

    def refuse(path: Path, **_: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    monkeypatch.setattr(Path, "stat", refuse)
    monkeypatch.setattr(atomic_file, "replacing", refuse)
    teacher.close()


def test_one_class_and_anything_else_is_unknown(teacher: Teacher, tmp_path: Path) -> None:
    for at in range(12):
        teacher.add("red", encoded("red", at), "r.png")
    assert share_called("red", teacher, "red") >= 0.8
    assert share_called(None, teacher, "blue") == 1.0
    report = teacher.save(tmp_path / "m")[1]
    assert report.accuracy == 1.0 and report.rejects


@pytest.mark.parametrize("counts", [{"a": 1}, {"a": 1, "b": 1}, {"a": 2}, {"a": 1, "b": 2}])
def test_with_very_few_pictures_it_works_and_reports_its_limits(
    counts: dict[str, int], teacher: Teacher, tmp_path: Path
) -> None:
    colour = {"a": "red", "b": "blue"}
    for label, count in counts.items():
        for at in range(count):
            teacher.add(label, encoded(colour[label], at), "x.png")
    saved, report = teacher.save(tmp_path / "m")
    assert bundles.load(saved.folder).labels == (*counts, "unknown")
    assert report.lines()
    for label in counts:
        assert teacher.predict(teacher.features(frame(colour[label], 3))).label == label


def test_pictures_that_are_all_alike(teacher: Teacher, tmp_path: Path) -> None:
    """As from a camera that has frozen: they differ as files, and not at all for the network."""
    for number, level in enumerate((40, 200)):
        for at in range(5):
            picture = np.full((24 + 2 * at, 32 + 2 * at, 3), level, np.uint8)
            teacher.add(f"level {number}", bytes(cv2.imencode(".png", picture)[1]), "x.png")
    assert teacher.save(tmp_path / "m")[1].accuracy == 1.0
    for level, label in ((200, "level 1"), (40, "level 0"), (201, "level 1"), (120, None)):
        flat = np.full((24, 32, 3), level, np.uint8)
        features = teacher.features(Frame(flat, "bgr", 32, 24, 0, 0, 0))
        assert teacher.predict(features).label == label
        scores = dict(zip((*teacher.head()[1], None), teacher.head()[0].probabilities(features[None])[0], strict=True))
        assert max(scores, key=scores.__getitem__) == label


def test_many_classes(teacher: Teacher, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    colours = [tuple(int(v) for v in rng.integers(0, 255, 3)) for _ in range(60)]
    for number, colour in enumerate(colours):
        for at in range(3):
            teacher.add(f"shade {number}", encoded(colour, 3 * number + at), "x.png")
    saved, report = teacher.save(tmp_path / "m")
    assert len(bundles.load(saved.folder).labels) == 61
    assert report.labels[:3] == ("shade 0", "shade 1", "shade 2") and len(report.lines()) < 30


def test_the_report_names_what_is_mixed_up_and_what_is_odd(teacher: Teacher) -> None:
    fill(teacher, 12)
    teacher.add("red", encoded("blue", 777), "mistake.png")
    report = teacher.report()
    assert [(one.label, one.taken_for) for one in report.confusions] == [("red", "blue")]
    assert "mistake" in report.confusions[0].picture and report.confusions[0].nearest.startswith("blue/")
    assert "mistake" in report.odd[0].picture and report.odd[0].nearest == "blue"
    assert report.as_json()["confusion"]["red"] == [1, 0, 12]
    assert any("mistake" in line for line in report.lines())


def test_a_class_called_unknown_is_a_class(teacher: Teacher, tmp_path: Path) -> None:
    for at in range(6):
        teacher.add("Unknown", encoded("white", at), "x.png")
        teacher.add("red", encoded("red", at), "x.png")
    saved, _ = teacher.save(tmp_path / "m")
    assert saved.labels == ("red", "Unknown", "none of these") and saved.card.reject == "none of these"


def test_features_are_not_computed_twice(base: Bundle, tmp_path: Path) -> None:
    with Teacher(base, PictureSet(tmp_path / "set")) as teacher:
        fill(teacher, 2)
    seen: list[tuple[int, int]] = []
    for path in (tmp_path / "set").rglob("*.png"):
        path.write_bytes(b"no picture any more")
    again = Teacher(base, PictureSet(tmp_path / "set"), progress=lambda *at: seen.append(at))
    assert again.counts() == {"blue": 2, "green": 2, "red": 2} and not again.unreadable
    other = Teacher(lessons.backbone(tmp_path / "other", lessons.photo_network(seed=8)), PictureSet(tmp_path / "set"))
    assert other.counts() == {} and len(other.unreadable) == 6
    assert seen[0] == (0, 6)


def test_a_camera_teaches_and_threads_may_share(teacher: Teacher) -> None:
    problems: list[BaseException] = []

    def record(colour: str) -> None:
        try:
            for at in range(12):
                camera = jpeg_frame(lessons.image(lessons.COLOURS[colour], 50 + at), at)
                teacher.add(colour, jpeg.portable(camera), "camera")
                teacher.predict(teacher.features(camera))
                teacher.counts()
        except BaseException as problem:  # told by the test's own thread
            problems.append(problem)

    threads = [threading.Thread(target=record, args=(colour,)) for colour in COLOURS]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not problems
    assert teacher.counts() == {"blue": 12, "green": 12, "red": 12}
    assert teacher.report().accuracy == 1.0


def test_saving_while_nothing_is_taught_is_refused_and_leaves_the_old_bundle(teacher: Teacher, tmp_path: Path) -> None:
    fill(teacher, 2)
    saved = files(teacher.save(tmp_path / "m")[0])
    for colour in COLOURS:
        teacher.remove_class(colour)
    with pytest.raises(UsageError):
        teacher.save(tmp_path / "m")
    assert files(bundles.load(tmp_path / "m")) == saved
