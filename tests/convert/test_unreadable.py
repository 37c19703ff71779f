"""Inputs of `picam-infer convert` that cannot be read, and outputs that cannot be written: one line, and no waiting."""

from __future__ import annotations

import json
import os
import re
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from makers import unprivileged
from test_refusals import dense, flat, good, sequential

from picam_infer.convert import sandbox
from picam_infer.core import NoInput, UsageError


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "IDLE_S", 5.0)  # who waits for a pipe is ended sooner, and told otherwise


@pytest.mark.parametrize("option", ["given", "labels", "weights"])
def test_a_pipe_is_refused(option: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    given = tmp_path / "pipe" if option == "given" else good(tmp_path / "m.h5")
    options = {} if option == "given" else {option: tmp_path / "pipe"}
    with pytest.raises(NoInput, match="pipe is not a regular file"):
        sandbox.convert(given, tmp_path / "out", options)


@pytest.mark.parametrize("link", [False, True])
def test_a_pipe_in_a_folder_in_place_of_its_model_is_named(link: bool, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    os.mkfifo(tmp_path / "pipe")
    if link:
        (folder / "keras_model.h5").symlink_to("../pipe")
    else:
        os.mkfifo(folder / "keras_model.h5")
    with pytest.raises(NoInput, match=r"keras_model\.h5 is not a regular file"):
        sandbox.convert(folder, tmp_path / "out", {})


def test_pipes_in_place_of_a_models_parts_are_named(tmp_path: Path) -> None:
    topology = {"model_config": sequential(flat(), dense())}
    tfjs = {"modelTopology": topology, "weightsManifest": [{"paths": ["w.bin"], "weights": []}]}
    (tmp_path / "model.json").write_text(json.dumps(tfjs))
    (tmp_path / "model.xml").write_text('<net name="m" version="11"></net>')
    for name in ("w.bin", "model.bin", "metadata.json"):
        os.mkfifo(tmp_path / name)
    with pytest.raises(NoInput, match=r"w\.bin is not a regular file"):
        sandbox.convert(tmp_path / "model.json", tmp_path / "out", {})
    with pytest.raises(NoInput, match=r"model\.bin is not a regular file"):
        sandbox.convert(tmp_path / "model.xml", tmp_path / "out", {})


def refused(*words: str | Path) -> tuple[int, str]:
    done = subprocess.run([*unprivileged(), sys.executable, "-m", "picam_infer", "convert", *words],
                          capture_output=True, text=True, check=False, timeout=60)  # fmt: skip
    # On a busy machine a line says now and then what it is doing.
    lines = [line for line in done.stderr.splitlines() if not re.search(r"… \(\d+ s\)$", line)]
    assert len(lines) == 1 and "report it" not in lines[0]
    return done.returncode, lines[0] + "\n"


def test_what_this_user_may_not_read_is_named(tmp_path: Path) -> None:
    why = "cannot be read (Permission denied); check its owner and permissions"
    closed, out = tmp_path / "closed", tmp_path / "h" / "out"
    closed.mkdir()
    file = good(closed / "m.h5")
    (tmp_path / "outer" / "inner").mkdir(parents=True)
    file.chmod(0)
    try:
        code, said = refused(file, "-o", out)
        assert code == 66 and said.startswith(f"picam-infer convert: {file} {why}")
        for option in ("--labels", "--weights"):
            code, said = refused(good(tmp_path / "m.h5"), option, file, "-o", out)
            assert code == 66 and f"{file} {why}" in said
        for mode, given in ((0o000, closed), (0o000, file), (0o444, closed)):
            closed.chmod(mode)
            code, said = refused(given, "-o", out)
            assert code == 66 and str(closed) in said and why in said
        (tmp_path / "outer" / "inner").chmod(0)
        code, said = refused(tmp_path / "outer", "-o", out)
        assert code == 66 and f"{tmp_path}/outer/inner cannot be read (Permission denied)" in said
    finally:
        closed.chmod(0o755)
        (tmp_path / "outer" / "inner").chmod(0o755)
    assert not out.parent.exists()


def test_a_place_that_this_user_may_not_write_is_blamed_itself(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir()
    given = good(tmp_path / "m.h5")
    for mode in (0o000, 0o555):
        closed.chmod(mode)
        try:
            for out in (closed / "out", closed / "deep" / "out", *([closed] if mode == 0 else [])):
                assert refused(given, "-o", out) == (1, f"picam-infer convert: cannot write {out} (Permission denied); "
                                                     "choose another folder with -o\n")  # fmt: skip
        finally:
            closed.chmod(0o755)


_PARENT = """
import sys
from pathlib import Path
from picam_infer.convert import sandbox
sandbox.CODE = '''
import os, time
from picam_infer.convert import conversion, sandbox
def convert(given, *_):
    given.with_name("started").write_text(str(os.getpid()))
    os.rename(given.with_name("started"), given.with_name("pid"))
    time.sleep(600)
conversion.convert = convert
sandbox.child()
'''
sandbox.convert(Path(sys.argv[1]), None, {})
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_the_child_ends_with_its_parent(number: int, tmp_path: Path) -> None:
    given = good(tmp_path / "m.h5")
    with subprocess.Popen([sys.executable, "-c", _PARENT, given], cwd=tmp_path) as parent:
        while not (tmp_path / "pid").exists():
            assert parent.poll() is None
            time.sleep(0.02)
        child = os.pidfd_open(int((tmp_path / "pid").read_text()))
        try:
            parent.send_signal(number)
            assert parent.wait(20) == -number
            assert select.select([child], [], [], 20)[0], "the child goes on"
        finally:
            if not select.select([child], [], [], 0)[0]:
                signal.pidfd_send_signal(child, signal.SIGKILL)
            os.close(child)


@pytest.mark.parametrize("output", [".", "", "..", "/", "in/.."])
def test_an_output_without_a_name_is_refused(output: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = good(tmp_path / "m.h5")
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    with pytest.raises(UsageError, match="is not a name for the bundle"):
        sandbox.convert(given, Path(output), {})
    assert not list((tmp_path / "empty").iterdir())
