"""Which model a service runs, and the previous one."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from makers import make_bundle
from small_disk import SmallDisk

from picam_infer import config as configs
from picam_infer.core import ConfigError, NoInput
from picam_infer.models import bundle as bundles
from picam_infer.models.bundle import Edges
from picam_infer.runtime.model_choice import ModelChoice


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(bundles, "INSTALLED", tmp_path / "nowhere" / "models")
    path = tmp_path / "bench.yaml"
    path.write_text("# mine\nmodel: digits  # the first\npreprocess: {canny: [80, 20]}\n")
    return path


def test_a_users_own_models_are_found_by_name_and_the_one_before_is_remembered(settings: Path) -> None:
    make_bundle(bundles.home() / "socks", chain=Edges(), shape=(1, 28, 28, 1))
    assert "socks" in bundles.names() and bundles.load("socks").name == "socks"
    choice = ModelChoice(settings)
    assert choice.before is None
    with pytest.raises(NoInput, match="no model was used before"):
        choice.model_before()
    assert choice.use("socks") == "" and choice.model == "socks" and choice.before == "digits"
    assert "# mine\nmodel: socks  # the first" in settings.read_text()
    assert choice.use("socks") == "" and choice.before == "digits", "once more is not a change"
    assert choice.use("socks", before="socks.before") == "" and choice.before == "socks.before"


def test_a_model_that_does_not_fit_the_settings_changes_nothing(settings: Path) -> None:
    make_bundle(bundles.home() / "photos")
    text = settings.read_text()
    with pytest.raises(ConfigError, match="canny"):
        ModelChoice(settings).use("photos")
    assert settings.read_text() == text and ModelChoice(settings).before is None


def test_choosing_waits_for_whoever_changes_the_file(settings: Path) -> None:
    """Between the look at the file and the memory of the model before, nobody else chooses."""
    for name in ("socks", "shoes"):
        make_bundle(bundles.home() / name, chain=Edges(), shape=(1, 28, 28, 1))
    chosen = threading.Thread(target=lambda: ModelChoice(settings).use("socks"))
    with configs.changing(settings) as change:
        chosen.start()
        change({"model": "shoes", "decide.threshold": 0.7})
    chosen.join(20)
    choice = ModelChoice(settings)
    assert (choice.model, choice.before) == ("socks", "shoes")
    assert configs.load(settings).decide.threshold == 0.7


def test_a_full_disk_is_named_with_its_remedy_and_nothing_is_said_to_live_on(
    settings: Path, small_disk: SmallDisk
) -> None:
    make_bundle(bundles.home() / "socks", chain=Edges(), shape=(1, 28, 28, 1))
    small_disk.fill()
    with pytest.raises(ConfigError) as error:
        ModelChoice(settings).use("socks")
    assert str(error.value).endswith("cannot be written (No space left on device); make room on that disk")
