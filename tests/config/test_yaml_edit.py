"""Saving single settings into files as people write them: everything else stays as it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from picam_infer import config
from picam_infer.config import NotSaved
from picam_infer.core import ConfigError

CANNY, HOLD, THRESHOLD = "preprocess.canny", "decide.hold", "decide.threshold"


@pytest.mark.parametrize(
    ("before", "key", "value", "after"),
    [
        pytest.param("", HOLD, 2, "decide: {hold: 2}\n", id="empty"),
        pytest.param("# mine\n", HOLD, 2, "# mine\ndecide: {hold: 2}\n", id="only comments"),
        pytest.param("# mine", HOLD, 2, "# mine\ndecide: {hold: 2}\n", id="no newline at the end of a comment"),
        pytest.param("source: demo", HOLD, 2, "source: demo\ndecide: {hold: 2}\n", id="no newline at the end"),
        pytest.param("---\n# c\n...\n", HOLD, 2, "---\n# c\ndecide: {hold: 2}\n...\n", id="markers, empty"),
        pytest.param("---\nsource: demo\n...\n# c\n", HOLD, 2, "---\nsource: demo\ndecide: {hold: 2}\n...\n# c\n",
                     id="markers"),
        pytest.param("{source: demo}\n", HOLD, 2, "{source: demo, decide: {hold: 2}}\n", id="all in braces"),
        pytest.param("{}\n", HOLD, 2, "{decide: {hold: 2}}\n", id="empty braces"),
        pytest.param("decide: {\n  threshold: 0.6,   # c\n}\n", HOLD, 2,
                     "decide: {\n  threshold: 0.6, hold: 2,   # c\n}\n", id="trailing comma"),
        pytest.param("decide: {threshold: 0.6,}\n", THRESHOLD, 0.7, "decide: {threshold: 0.7,}\n", id="comma stays"),
        pytest.param("decide: {   }\n", HOLD, 2, "decide: {hold: 2   }\n", id="empty block"),
        pytest.param("decide:\n      # low\n      threshold: 0.6   # t\n\n# end\n", HOLD, 2,
                     "decide:\n      # low\n      threshold: 0.6   # t\n      hold: 2\n\n# end\n", id="indentation"),
        pytest.param("preprocess:\n  canny:   # two\n    - 90  # strong\n    - 30  # weak\n", CANNY, [95, 30],
                     "preprocess:\n  canny:   # two\n    - 95  # strong\n    - 30  # weak\n", id="block list"),
        pytest.param("preprocess:\n  canny:\n  - 90\n  - 30\nlog: {level: info}\n", CANNY, [95, 35],
                     "preprocess:\n  canny:\n  - 95\n  - 35\nlog: {level: info}\n", id="block list at its key"),
        pytest.param("preprocess: {canny: [90, 30,]} # c\n", CANNY, [95, 30], "preprocess: {canny: [95, 30,]} # c\n",
                     id="flow list"),
        pytest.param("preprocess: {canny: [\n 90, # a\n 30]}\n", CANNY, [95, 30],
                     "preprocess: {canny: [\n 95, # a\n 30]}\n", id="flow list over lines"),
        pytest.param("decide:\n  threshold: &t 0.6\n  margin: *t\n", THRESHOLD, 0.7,
                     "decide:\n  threshold: 0.7\n  margin: &t 0.6\n", id="anchor"),
        pytest.param("decide:\n  threshold: &t 0.6\n  margin: *t\n  smooth: *t\n", "decide.margin", 0.1,
                     "decide:\n  threshold: &t 0.6\n  margin: 0.1\n  smooth: *t\n", id="alias"),
        pytest.param("decide: {threshold: &t 0.6, margin: *t, smooth: *t}\n", THRESHOLD, 0.7,
                     "decide: {threshold: 0.7, margin: &t 0.6, smooth: *t}\n", id="anchor with two aliases"),
        pytest.param("decide: {<<: {threshold: 0.5}, hold: 2}\n", THRESHOLD, 0.7,
                     "decide: {<<: {threshold: 0.5}, hold: 2, threshold: 0.7}\n", id="merged"),
        pytest.param("decide:\n  <<: {threshold: 0.5}\n", THRESHOLD, 0.7,
                     "decide:\n  <<: {threshold: 0.5}\n  threshold: 0.7\n", id="merged block"),
        pytest.param("source: >\n  demo\ndecide: {hold: 1}\n", "source", "camera",
                     "source: camera\ndecide: {hold: 1}\n", id="folded text"),
        pytest.param("decide: {hold: 1}\nsource: |\n  demo\n", "log.level", "debug",
                     "decide: {hold: 1}\nsource: |\n  demo\nlog: {level: debug}\n", id="after literal text"),
        pytest.param('"decide":\n  \'threshold\': "0.6"\n'.replace('"0.6"', "0.6"), THRESHOLD, 0.7,
                     '"decide":\n  \'threshold\': 0.7\n', id="quoted keys"),
        pytest.param("? decide\n: threshold: 0.6\n", THRESHOLD, 0.7, "? decide\n: threshold: 0.7\n", id="? keys"),
        pytest.param("decide: {threshold: 0.60} # 0.6\n", THRESHOLD, 0.6, "decide: {threshold: 0.6} # 0.6\n",
                     id="the same value"),
        pytest.param("%YAML 1.1\n---\ndecide: {hold: 1}\n", HOLD, 2, "%YAML 1.1\n---\ndecide: {hold: 2}\n",
                     id="directive"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("ends", ["\n", "\r\n"])
def test_one_key_is_set_and_the_rest_stays(
    tmp_path: Path, before: str, key: str, value: Any, after: str, ends: str
) -> None:
    path = tmp_path / "c.yaml"
    crlf = ends == "\r\n" and "\n" in before
    path.write_bytes((before.replace("\n", ends) if crlf else before).encode())
    config.save(path, {key: value})
    assert path.read_bytes().decode() == (after.replace("\n", ends) if crlf else after)


def test_a_byte_order_mark_stays(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_bytes(b"\xef\xbb\xbfdecide: {hold: 1}\r\n")
    config.save(path, {HOLD: 2})
    assert path.read_bytes() == b"\xef\xbb\xbfdecide: {hold: 2}\r\n"


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    real, link = tmp_path / "elsewhere" / "real.yaml", tmp_path / "c.yaml"
    real.write_text("decide: {hold: 1}\n")
    link.symlink_to("elsewhere/real.yaml")
    config.save(link, {HOLD: 2})
    assert link.is_symlink() and real.read_text() == "decide: {hold: 2}\n"
    assert [*real.parent.iterdir()] == [real]


@pytest.mark.parametrize(
    ("text", "key", "value", "line"),
    [
        pytest.param("# c\ndecide: &d\n  threshold: 0.5\npreprocess: *d\n", THRESHOLD, 0.7, 3, id="block used twice"),
        pytest.param("preprocess:\n  canny:\n    - 90  # a\n    - 30\n", CANNY, 0.5, 3, id="comments would go"),
        pytest.param("decide: &d {hold: 1}\npreprocess: *d\n", "preprocess.roi", 0.4, 2, id="an alias as a block"),
    ],
)
def test_what_cannot_be_changed_alone_is_named_and_left(
    tmp_path: Path, text: str, key: str, value: Any, line: int
) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(text)
    with pytest.raises(NotSaved, match=rf"c\.yaml:{line}: {key} cannot be changed here") as raised:
        config.save(path, {key: value})
    assert path.read_text() == text and raised.value.keys == (key,)
    assert raised.value.hint == f"write it yourself: {key}: {yaml.safe_dump(value).split()[0]}"


def test_the_others_are_saved_all_the_same(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("decide: &d\n  threshold: 0.5\npreprocess: *d\nlog: {level: info}\n")
    with pytest.raises(NotSaved, match="all others are saved"):
        config.save(path, {THRESHOLD: 0.7, "log.level": "debug"})
    assert path.read_text().endswith("log: {level: debug}\n") and "threshold: 0.5" in path.read_text()


def test_a_file_that_was_broken_meanwhile_stays(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("decide: {hold: 1\n")
    with pytest.raises(ConfigError, match=r"c\.yaml:2: not valid YAML"):
        config.save(path, {HOLD: 2})
    assert path.read_text() == "decide: {hold: 1\n"
