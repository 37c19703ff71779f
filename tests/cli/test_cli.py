"""The command line: verbs, help, exit codes, one line for every error."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from picam_infer import cli
from picam_infer.core import ConfigError, NoInput, PicamError, Unavailable, UsageError

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("verb", cli.VERBS)
def test_every_verb_has_help(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main([verb, "--help"])
    assert ended.value.code == 0
    assert f"picam-infer {verb}" in capsys.readouterr().out


@pytest.mark.parametrize("verb", cli.VERBS)
def test_help_never_breaks_a_line_within_a_name(
    verb: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for columns in range(70, 100):
        monkeypatch.setenv("COLUMNS", str(columns))
        with pytest.raises(SystemExit):
            cli.main([verb, "--help"])
        assert not re.search(r"[a-z]-$", capsys.readouterr().out, re.MULTILINE)


def test_the_top_level_lists_the_verbs(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([]) == 2
    listed = capsys.readouterr().out
    assert all(verb in listed for verb in cli.VERBS)


def test_what_is_missing_is_named_as_in_the_usage(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["train"])
    assert "required: digits" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        cli.main(["models", "lst"])
    assert "argument list|import|delete: invalid choice: 'lst'" in capsys.readouterr().err


def test_an_unknown_verb_gets_a_suggestion(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["clasify"]) == 2
    assert "did you mean classify?" in capsys.readouterr().err
    assert cli.main(["help", "run"]) == 2
    assert "did you mean picam-infer --help, or picam-infer COMMAND --help?" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "code"), [(PicamError, 1), (UsageError, 2), (NoInput, 66), (Unavailable, 69), (ConfigError, 78)]
)
def test_errors_are_one_line_with_their_exit_code(
    error: type[PicamError], code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from picam_infer.cli import classify

    def fail(args: object) -> int:
        raise error("what", "remedy")

    monkeypatch.setattr(classify, "main", fail)
    assert cli.main(["classify", "x.png"]) == code
    assert capsys.readouterr().err == "picam-infer classify: what; remedy\n"


@pytest.mark.parametrize(("error", "said"), [
    (MemoryError(), "there is not enough memory; close other programs"),
    (RuntimeError("std::bad_alloc"), "there is not enough memory; close other programs"),
    (ImportError("libGL.so.1: cannot open shared object file"), "cannot be loaded (libGL.so.1: cannot open shared"),
])  # fmt: skip
def test_a_lack_of_memory_or_a_library_is_one_line(
    error: Exception, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from picam_infer.cli import classify

    def fail(args: object) -> int:
        raise error

    monkeypatch.setattr(classify, "main", fail)
    assert cli.main(["classify", "x.png"]) == 1
    told = capsys.readouterr().err
    assert told.startswith("picam-infer classify: ") and said in told and told.count("\n") == 1


@pytest.mark.parametrize("module", ["picam_infer.core", "numpy", "cv2"])
def test_what_cannot_be_loaded_at_the_start_is_one_line(module: str) -> None:
    program = f"""
import sys

class Lacking:
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            raise ImportError("libx.so: failed to map segment from shared object")

sys.meta_path.insert(0, Lacking())
sys.argv = ["picam-infer", "classify", "x.png"]
from picam_infer.__main__ import main
raise SystemExit(main())
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1 and done.stderr.count("\n") == 1, done.stderr
    assert "there is not enough memory; close other programs" in done.stderr


def test_help_is_quick_and_loads_no_engine() -> None:
    script = "import sys; from picam_infer import cli; cli.main(['--help'])\n"
    done = subprocess.run([sys.executable, "-c", f"import sys\ntry:\n    {script}except SystemExit: pass\n"
                           "print(sorted({'cv2', 'openvino'} & set(sys.modules)))"],
                          capture_output=True, text=True, check=True)  # fmt: skip
    assert done.stdout.strip().endswith("[]")


def test_the_version_is_that_of_the_changelogs_first_heading(capsys: pytest.CaptureFixture[str]) -> None:
    newest = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)
    assert newest is not None
    with pytest.raises(SystemExit) as ended:
        cli.main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"picam-infer {newest[1]}\n"
