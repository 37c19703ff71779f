"""`--engine` and `--url` of the verbs that ask a model: the server that they name, and what makes no sense."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import cv2
import model_server
import numpy as np
import pytest
from model_server import Behaviour

from picam_infer import cli
from picam_infer.runtime.options import Options

pytest.importorskip("tritonclient.grpc", reason="needs tritonclient[grpc]")
VERBS = (["classify", "IMAGE"], ["bench"], ["run", "--source", "demo", "--display", "none", "--frames", "1"])


@pytest.fixture
def server() -> Behaviour:
    """One that takes everything for the fourth class."""
    return Behaviour(
        lambda tensor: np.eye(11, dtype=np.float32)[[3]],
        [{"name": "pixels", "datatype": "UINT8", "shape": [-1, 28, 28, 1]}],
        [{"name": "scores", "datatype": "FP32", "shape": [-1, 11]}],
        name="digits",
    )


@pytest.fixture
def url(server: Behaviour) -> Iterator[str]:
    with model_server.plain(server, "grpc") as where:
        yield where


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "picture.png"
    cv2.imwrite(str(path), np.full((64, 64, 3), 255, np.uint8))
    return path


@pytest.fixture
def configured(tmp_path: Path, url: str) -> Path:
    path = tmp_path / "config.yaml"
    path.write_text(f"engine: {{url: '{url}', deadline_s: 30}}\n")
    return path


def test_classify_asks_the_server(
    url: str, server: Behaviour, picture: Path, configured: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for words in (["--url", url], ["--engine", "remote", "-c", str(configured)], ["--engine", "remote", "--url", url]):
        assert cli.main(["classify", "--json", *words, str(picture)]) == 0
        result = json.loads(capsys.readouterr().out)
        assert (result["engine"], result["top"][0]["label"]) == ("remote:127.0.0.1/digits", "3")
    server.loaded = False
    assert cli.main(["classify", "--url", url, str(picture)]) == 69  # asked for by name: nothing stands in for it
    out, err = capsys.readouterr()
    assert out == "" and "has no model digits that is ready" in err and len(err.splitlines()) == 1


def test_bench_asks_the_server(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["bench", "--json", "--url", url]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    (row,) = [row for row in rows if "remote:127.0.0.1/digits" in row["name"]]
    assert "this server keeps no statistics of its own time" in row["note"]


def test_the_table_of_bench_explains_its_columns(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("picam_infer.cli.bench.ROUNDS", 1)
    assert cli.main(["bench", "--threads", "1"]) == 0
    head, *rows, last = capsys.readouterr().out.splitlines()
    assert re.search(r"first +later +best   later, compared with OpenVINO, bare network$", head)
    assert len({row.index(".") for row in rows[:4]}) == 1, "the columns stand below each other"
    assert rows[3].endswith("   1.00 times")
    assert re.search(r"^picture to label takes \d+\.\d\d times as long as .* together \(best calls, 1 thread\)$", last)
    assert cli.main(["bench", "--json"]) == 0
    names = [json.loads(line)["name"] for line in capsys.readouterr().out.splitlines()]
    assert names == [name.strip() for name in names]


def test_bench_measures_the_model_of_a_settings_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("picam_infer.cli.bench.ROUNDS", 1)
    (tmp_path / "c.yaml").write_text("model: nothere\n")
    assert cli.main(["bench", "-c", str(tmp_path / "c.yaml")]) == 66
    assert "no model called 'nothere'" in capsys.readouterr().err
    assert cli.main(["bench", "-c", str(tmp_path / "c.yaml"), "-m", "digits"]) == 0


@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb[0])
@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--engine", "ncs", "--url", "grpc://pi"], 2, "--url names a model server, but --engine is ncs"),
        (
            ["--engine", "remote"],
            78,
            "no model server is named: engine.url is empty; give one with engine.url or --url",
        ),
        (["--url", "pi:8001"], 78, "engine.url 'pi:8001' is not the address of a server"),
        (["--url", "http://h\udce9"], 78, "is not the address of a server (no host can be called that)"),
    ],
)
def test_what_makes_no_sense_is_one_line(
    verb: list[str], words: list[str], code: int, said: str, picture: Path, capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    given = [str(picture) if word == "IMAGE" else word for word in verb]
    assert cli.main([*given, *words]) == code
    assert said in capsys.readouterr().err + caplog.text


def test_the_command_lines_server_wins(configured: Path) -> None:
    configured.write_text("engine: {url: 'grpc://pi', deadline_s: 30}\n")
    for options, kind, url in (
        (Options(configured), "auto", "grpc://pi"),
        (Options(configured, engine="remote"), "remote", "grpc://pi"),
        (Options(configured, engine="remote", url="http://other"), "remote", "http://other"),
    ):
        engine = options.config().engine
        assert (engine.kind, engine.url, engine.deadline_s) == (kind, url, 30)
