import os
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from picam_infer.config import Capture
from picam_infer.core import BadFrame, NoInput, PicamError, Source
from picam_infer.imaging import decode
from picam_infer.sources import open_source


def video(path, fourcc="MJPG", count=12, size=(320, 240)):
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*fourcc), 25, size)
    assert writer.isOpened()
    for number in range(count):
        writer.write(np.full((size[1], size[0], 3), (10 + number * 15) % 256, np.uint8))
    writer.release()
    return path


def shades(source):
    out = []
    while (frame := source.read()) is not None:
        out.append((frame, round(float(decode.bgr(frame).mean()))))
    return out


@pytest.mark.parametrize(("name", "fourcc", "codec"), [("a.avi", "MJPG", "jpeg"), ("a.mp4", "mp4v", "bgr")])
def test_a_video_plays_in_full_and_in_order(tmp_path, name, fourcc, codec):
    path = video(tmp_path / name, fourcc)
    source = open_source(str(path), Capture(rotate=180))
    assert isinstance(source, Source) and not source.live and "320×240" in source.description
    played = shades(source)
    assert len(played) == 12 and {f.codec for f, _ in played} == {codec}
    assert [f.seq for f, _ in played] == list(range(12)) and {f.name for f, _ in played} == {str(path)}
    assert all(abs(shade - (10 + i * 15)) < 6 for i, (_, shade) in enumerate(played))
    assert played[0][0].rotate == 180
    assert source.read() is None
    source.close()
    source.close()


def test_a_row_of_jpegs_is_a_video(tmp_path):
    path = tmp_path / "row.mjpg"
    pictures = [cv2.imencode(".jpg", np.full((48, 64, 3), shade, np.uint8))[1] for shade in range(0, 250, 10)]
    path.write_bytes(b"".join(picture.tobytes() for picture in pictures))
    played = shades(open_source(str(path), Capture()))
    assert len(played) == 25 and {f.codec for f, _ in played} == {"jpeg"}


def test_a_damaged_packet_is_skipped(tmp_path):
    path = video(tmp_path / "a.avi")
    data = bytearray(path.read_bytes())
    ends = [i for i in range(len(data) - 1) if data[i : i + 2] == b"\xff\xd9"]
    data[ends[5] : ends[5] + 2] = b"\x11\x11"
    path.write_bytes(data)
    source, good, bad = open_source(str(path), Capture()), 0, 0
    for _ in range(13):
        try:
            good += source.read() is not None
        except BadFrame:
            bad += 1
    assert (good, bad) == (11, 1)


def test_a_video_that_is_cut_short_plays_to_the_cut(tmp_path, caplog):
    path = video(tmp_path / "a.avi", count=40)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    source, played = open_source(str(path), Capture()), 0
    while True:
        try:
            if source.read() is None:
                break
            played += 1
        except BadFrame:
            pass
    assert 10 < played < 30


def test_a_picture_is_one_frame(tmp_path):
    cv2.imwrite(str(tmp_path / "one.png"), np.full((40, 60, 3), 77, np.uint8))
    source = open_source(str(tmp_path / "one.png"), Capture())
    frame = source.read()
    assert (frame.codec, frame.width, frame.height, frame.name) == ("bgr", 60, 40, str(tmp_path / "one.png"))
    assert source.read() is None and source.description.endswith("1 picture")


def test_a_picture_under_a_wrong_name_is_still_one(tmp_path):
    cv2.imwrite(str(tmp_path / "one.png"), np.full((40, 60, 3), 77, np.uint8))
    for name in ("one", "one.mp4"):
        shutil.copy(tmp_path / "one.png", tmp_path / name)
        assert open_source(str(tmp_path / name), Capture()).read().width == 60


def test_a_folder_plays_in_natural_order(tmp_path):
    for number in (10, 2, 1):
        cv2.imwrite(str(tmp_path / f"frame{number}.png"), np.full((20, 20, 3), number * 10, np.uint8))
    (tmp_path / "notes.txt").write_text("not a picture")
    (tmp_path / ".hidden.png").write_text("nor this")
    played = shades(open_source(str(tmp_path), Capture()))
    assert [(Path(f.name).name, shade) for f, shade in played] == [
        ("frame1.png", 10),
        ("frame2.png", 20),
        ("frame10.png", 100),
    ]


def test_a_bad_picture_among_good_ones_is_named_and_skipped(tmp_path, caplog):
    cv2.imwrite(str(tmp_path / "1.png"), np.zeros((20, 20, 3), np.uint8))
    (tmp_path / "2.png").write_bytes(b"nonsense")
    cv2.imwrite(str(tmp_path / "3.png"), np.zeros((20, 20, 3), np.uint8))
    source = open_source(str(tmp_path), Capture())
    assert source.read().seq == 0
    with pytest.raises(BadFrame):
        source.read()
    assert "2.png" in caplog.text
    assert source.read().seq == 2 and source.read() is None


def bad(tmp_path, kind):
    path = tmp_path / f"x.{kind}"
    content = {"avi": b"", "mp4": bytes(range(256)) * 40, "txt": b"hello\n" * 900, "mkv": b"\x1aE\xdf\xa3" + bytes(900)}
    path.write_bytes(content[kind])
    return path


@pytest.mark.parametrize("kind", ["avi", "mp4", "txt", "mkv"])
def test_what_is_no_video_is_said_in_one_line(tmp_path, kind, capfd):
    with pytest.raises(NoInput) as error:
        open_source(str(bad(tmp_path, kind)), Capture())
    assert error.value.exit_code == 66 and "\n" not in str(error.value) and f"x.{kind}" in str(error.value)
    assert capfd.readouterr().err == ""


def test_an_archive_is_not_to_be_made_a_video(tmp_path):
    (tmp_path / "model.zip").write_bytes(b"PK\x03\x04" + bytes(900))
    with pytest.raises(NoInput, match=r"is an archive, not a video; .*picam-infer convert"):
        open_source(str(tmp_path / "model.zip"), Capture())


def test_an_empty_folder_and_a_bad_only_picture(tmp_path):
    with pytest.raises(NoInput, match="has no pictures"):
        open_source(str(tmp_path), Capture())
    (tmp_path / "a.png").write_bytes(b"nonsense")
    with pytest.raises(PicamError):
        open_source(str(tmp_path / "a.png"), Capture()).read()


def test_a_pipe_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(NoInput, match="pipe is not a regular file"):
        open_source(str(tmp_path / "pipe"), Capture())
