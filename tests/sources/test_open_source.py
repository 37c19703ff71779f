import numpy as np
import pytest

from picam_infer.config import Capture, Config
from picam_infer.core import Disconnected, NoInput, PicamError, UsageError
from picam_infer.sources import list_cameras, open_source
from picam_infer.sources.frames import jpeg_size, make_frame


@pytest.mark.parametrize(
    ("address", "error", "words"),
    [
        ("camra", UsageError, "did you mean camera?"),
        ("camara:C270", UsageError, "did you mean camera:C270?"),
        ("dmo", UsageError, "did you mean demo?"),
        ("picam", UsageError, "did you mean picamera?"),
        ("0", UsageError, "did you mean /dev/video0?"),
        ("", UsageError, "the source is empty"),
        ("camera:", UsageError, "needs a name"),
        ("rstp://cam/1", UsageError, "did you mean rtsp://?"),
        ("gopher://cam", UsageError, "is not a kind of source"),
        ("http:/192.0.2.7:81/live?key=secret", UsageError, "did you mean http://192.0.2.7:81/…?"),
        ("RTSP:192.0.2.7", UsageError, "did you mean rtsp://192.0.2.7/…?"),
        ("192.0.2.7:554/live", UsageError, "did you mean rtsp://192.0.2.7:554/… or http://192.0.2.7:554/…?"),
        ("/nowhere/at/all.mp4", NoInput, "there is no file or folder /nowhere/at/all.mp4"),
        ("zzz", NoInput, "there is no file or folder zzz"),
    ],
)
def test_an_address_that_means_nothing_is_one_clear_line(address, error, words):
    with pytest.raises(error) as caught:
        open_source(address, Capture())
    assert words in str(caught.value) and "\n" not in str(caught.value)
    assert caught.value.exit_code == (2 if error is UsageError else 66)


def test_names_that_cannot_be_looked_up_are_one_clear_line():
    for address in ("x" * 300, f"file://{'x' * 300}", "~nobody-of-this-name/a.jpg"):
        with pytest.raises(NoInput, match=r"cannot be read|no such user"):
            open_source(address, Capture())


@pytest.mark.parametrize(
    "address", ["http:127.0.0.1:81/live?user=a&pwd=hunter2", "cam.local/live?pwd=hunter2", "127.0.0.1/l?key=hunter2"]
)
def test_a_query_is_not_shown_where_the_scheme_is_missing(address):
    with pytest.raises(PicamError) as caught:
        open_source(address, Capture())
    assert "hunter2" not in str(caught.value)


def test_a_misspelt_file_is_guessed(tmp_path):
    (tmp_path / "holiday.mp4").touch()
    with pytest.raises(NoInput, match=r"did you mean .*holiday\.mp4\?"):
        open_source(str(tmp_path / "holyday.mp4"), Capture())


def test_only_a_path_with_a_dot_starts_from_the_current_folder(tmp_path, monkeypatch):
    (tmp_path / "dmo").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=r"did you mean demo\?"):
        open_source("dmo", Capture())
    with pytest.raises(NoInput, match="no pictures"):
        open_source("./dmo", Capture())


def test_a_file_url_is_a_file(tmp_path):
    with pytest.raises(NoInput, match="there is no"):
        open_source(f"file://{tmp_path}/x.mp4", Capture())


@pytest.mark.skipif(bool(list_cameras()), reason="this machine has a camera")
@pytest.mark.parametrize("address", ["camera", "camera:C270", "camera:usb:046d:0825", "/dev/video97"])
def test_a_camera_that_is_not_there_is_a_loss_to_wait_out(address):
    with pytest.raises(Disconnected, match=r"no camera|there is no /dev/video97") as lost:
        open_source(address, Capture())
    assert lost.value.hint and lost.value.exit_code == 69


@pytest.mark.parametrize("size", [(64, 48), (1920, 1080)])
def test_the_size_in_a_jpeg(size):
    import cv2

    data = cv2.imencode(".jpg", np.zeros((size[1], size[0], 3), np.uint8))[1].reshape(-1)
    assert jpeg_size(data) == size
    filled = np.concatenate([data[:2], np.array([0xFF, 0xFF], np.uint8), data[2:]])
    assert jpeg_size(filled) == size


@pytest.mark.parametrize("rest", [b"", b"\xff\xda\0\4aaaaaaaa", b"\0" * 90, b"\xff\xd9" + b"a" * 9, b"\xff" * 50])
def test_no_size_in_what_is_no_jpeg(rest):
    data = b"\xff\xd8" + rest
    assert jpeg_size(np.frombuffer(data, np.uint8)) is None


def test_both_stamps_of_a_frame_are_the_same_moment():
    frame = make_frame(np.zeros((2, 2), np.uint8), "grey", (2, 2), 0, Capture(), monotonic_s=100.0)
    later = make_frame(np.zeros((2, 2), np.uint8), "grey", (2, 2), 1, Capture(), monotonic_s=101.5)
    assert later.captured - frame.captured == pytest.approx(1.5, abs=0.05)


@pytest.mark.parametrize(
    ("address", "rotate", "expected"),
    [
        (" camera ", 0, (1920, 1080)),
        ("/dev/video2", 180, (1920, 1080)),
        ("camera:C270", 90, (1080, 1920)),
        ("picamera", 270, (1080, 1920)),
        ("demo", 0, (1920, 1080)),
        ("rtsp://cam/1", 0, None),
        ("holiday.mp4", 0, None),
    ],
)
def test_the_picture_size_is_known_in_advance_only_for_cameras(address, rotate, expected):
    config = Config(source=address, capture=Capture(width=1920, height=1080, rotate=rotate))
    assert config.picture_size == expected
