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


def test_the_top_level_lists_the_verbs(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([]) == 2
    listed = capsys.readouterr().out
    assert all(verb in listed for verb in cli.VERBS)


def test_an_unknown_verb_gets_a_suggestion(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["clasify"]) == 2
    assert "did you mean classify?" in capsys.readouterr().err


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
