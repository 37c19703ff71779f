"""The list of all keys, and the documents that are made from it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from picam_infer.cli import VERBS, manual
from picam_infer.config import reference

ROOT = Path(__file__).parents[2]
SHIPPED = ROOT / "config" / "picam-infer.yaml"


def test_every_key_of_the_shipped_file_is_listed_with_its_default() -> None:
    listed = {key.name: key.default for key in reference.keys()}

    def walk(block: dict[str, object], prefix: str) -> None:
        for name, value in block.items():
            if isinstance(value, dict) and value:
                walk(value, f"{prefix}{name}.")
            else:
                shown = listed[f"{prefix}{name}"]
                assert yaml.safe_load(shown or "null") == value, (prefix + name, shown, value)

    walk(yaml.safe_load(SHIPPED.read_text("utf-8")), "")


def test_bounds_and_choices_are_in_words() -> None:
    takes = {key.name: key.takes for key in reference.keys()}
    assert takes["decide.threshold"] == "number, 0 to 1"
    assert takes["web.fps"] == "number, above 0 to 60"
    assert takes["capture.format"] == "mjpg, yuyv, any"
    assert takes["events[mqtt].tls"] == "true or false"
    assert takes["web"] == "true or false, or a block of keys"


def test_the_document_of_the_configuration_has_every_key_as_it_is() -> None:
    document = (ROOT / "docs" / "configuration.md").read_text("utf-8")
    assert reference.markdown() in document, "make it again with picam_infer.config.reference.markdown()"


def test_the_manual_pages_name_every_verb_and_key(tmp_path: Path) -> None:
    assert manual.main([str(tmp_path), str(SHIPPED)]) == 0
    commands = (tmp_path / "picam-infer.1").read_text("utf-8")
    assert [verb for verb in VERBS if f".SH {verb.upper()}" not in commands] == []
    settings = (tmp_path / "picam-infer.yaml.5").read_text("utf-8")
    assert [key.name for key in reference.keys() if key.name.replace("-", "\\-") not in settings] == []


@pytest.mark.skipif(not shutil.which("groff"), reason="needs groff (Debian: groff-base)")
def test_groff_reads_the_pages_without_a_complaint(tmp_path: Path) -> None:
    manual.main([str(tmp_path), str(SHIPPED)])
    for page in sorted(tmp_path.iterdir()):
        command = ["groff", "-K", "utf8", "-man", "-Tutf8", "-ww", str(page)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
        assert [line for line in done.stderr.splitlines() if "can't break line" not in line] == []
