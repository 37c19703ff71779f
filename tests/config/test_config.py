"""Configuration: strict reading with helpful errors, and keeping single keys without touching the rest."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest
import yaml

from picam_infer import config
from picam_infer.config import Config, yaml_tree
from picam_infer.config.schema import path_kind
from picam_infer.core import Busy, ConfigError, NoInput
from picam_infer.models.bundle import Card, Edges, Input

SHIPPED = Path(__file__).parents[2] / "config" / "picam-infer.yaml"


def test_shipped_file_loads_to_exactly_the_defaults() -> None:
    assert config.load(SHIPPED) == Config()


def test_shipped_file_has_every_key() -> None:
    import msgspec

    def keys(plain: object, prefix: str = "") -> set[str]:
        if not isinstance(plain, dict):
            return {prefix}
        return set().union({prefix} if prefix else set(), *(keys(v, f"{prefix}.{k}") for k, v in plain.items()))

    assert keys(yaml.safe_load(SHIPPED.read_text())) == keys(msgspec.to_builtins(Config()))


def test_empty_file_is_good() -> None:
    assert config.parse("") == Config()
    assert config.parse("# only a comment\n") == Config()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("captur: {}\n", r"f\.yaml:1: captur: no such key; did you mean capture\?"),
        ("source: demo\ncapture:\n  widht: 3\n", r"f\.yaml:3: capture\.widht: no such key; did you mean width\?"),
        ("capture: {zzz: 1}\n", r"no such key; keys here: width, height"),
        ("capture:\n  width: wide\n", r"f\.yaml:2: capture\.width: expected a whole number, got text"),
        ("capture:\n\n  width: 3\n", r"f\.yaml:3: capture\.width: .*16"),
        ("engine: {kind: ncss}\n", r"engine\.kind: .*did you mean ncs\? one of: auto, openvino, ncs"),
        ("capture: {rotate: 45}\n", r"capture\.rotate: .*one of: 0, 90, 180, 270"),
        ("decide: 3\n", r"f\.yaml:1: decide: expected a block of keys, got a whole number"),
        ("source: a\nsource: b\n", r"f\.yaml:2: source is set twice \(first in line 1\)"),
        ("- 1\n", r"f\.yaml:1: expected `key: value` lines"),
        ("a: [\n", r"f\.yaml:2: not valid YAML"),
        ("a: \t b: c\n", r"f\.yaml:1: not valid YAML"),
        ("source: \x07\n", r"not valid YAML"),
        ("source: 2020-99-99\n", r"f\.yaml"),
        ("decide: {threshold: .nan}\n", r"decide\.threshold"),
        ("web:\n  listen: 0.0.0.0:65536\n", r"f\.yaml:2: web\.listen: 65536 is not a port: 65535 is the highest; for "),
        ("web: {listen: '127.0.0.1:80800'}\n", r"listen: 80800 is not a port: .*; for example 127\.0\.0\.1:8080$"),
        ("web: {listen: '8080'}\n", r"web\.listen: expected HOST:PORT; for example 127\.0\.0\.1:8080$"),
        ("web: {listen: localhost}\n", r"web\.listen: expected HOST:PORT; for example 127\.0\.0\.1:8080$"),
        ("engine: {url: 'grpc://server:80010'}\n", r"engine\.url: 80010 is not a port: 65535 is the highest; for exam"),
        (
            "schedule: {days: mon-fri}\n",
            r"schedule: .*; it takes a list of blocks with these keys: days, hours; a block ",
        ),
        ("capture: {controls: brightness=3}\n", r"capture\.controls: .*; it takes a block of keys$"),
        ("events: [{kind: jsonl}]\n", r"f\.yaml:1: events\[jsonl\]: the key path is missing; it takes text$"),
        ("events: [{host: a}]\n", r"events\[\]: the key kind is missing; one of: jsonl, mqtt"),
        (
            "events:\n  - kind: webhook\n    url: http://[::1\n",
            r"f\.yaml:3: events\[webhook\]\.url: .*for example https://",
        ),
        (
            "events: [{kind: webhook, url: 'http://a:99999/'}]\n",
            r"events\[webhook\]\.url: 99999 is not a port: 65535 is the highest; for example https://",
        ),
        *(
            (f"decide:\n  threshold: {value}\n", r"f\.yaml:2: decide\.threshold: .* looks like .* but is not one")
            for value in ('!!float ""', '!!int "_"', '!!int "+"', "!!bool x", "!!timestamp x")
        ),
        ("source: a\nname: !!map x\n", r"f\.yaml:2: name: the tag !!map is not supported here"),
        ("source: a\nname: !!str {a: 1}\n", r"f\.yaml:2: name: the tag !!str is not supported here"),
        ("web: {token: hunter2}\n", r"web\.token: invalid value; one of: remote, always$"),
        (f"decide: {{threshold: !!int {'x' * 900}}}\n", r"threshold: x{60}… looks like a number.{0,100}$"),
    ],
)
def test_errors_say_where_and_what(tmp_path: Path, text: str, expected: str) -> None:
    path = tmp_path / "f.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        config.load(path)
    said = str(caught.value)
    assert re.search(expected, said), said
    assert "\n" not in said
    assert caught.value.exit_code == 78


def test_missing_and_unreadable_files(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file; check the path, or leave -c out"):
        config.load(tmp_path / "none.yaml")
    with pytest.raises(ConfigError, match="is a folder; name the file in it"):
        config.load(tmp_path)
    os.mkfifo(tmp_path / "pipe.yaml")
    with pytest.raises(ConfigError, match="is not a file"):
        config.load(tmp_path / "pipe.yaml")
    (tmp_path / "latin.yaml").write_bytes(b"source: caf\xe9\n")
    (tmp_path / "notepad.yaml").write_bytes("source: demo\n".encode("utf-16"))
    for name in ("latin.yaml", "notepad.yaml"):
        with pytest.raises(ConfigError, match="is not UTF-8 text; save it as UTF-8"):
            config.load(tmp_path / name)
    (tmp_path / "leaf.jpg").write_bytes(b"\xff\xd8\xff\xe0\0\x10JFIF\0")
    with pytest.raises(ConfigError, match="is not text; give a configuration file with -c"):
        config.load(tmp_path / "leaf.jpg")


CARD = Card(name="digits", input=Input((1, 28, 28, 1)), preprocess=Edges())


BOMB = "preprocess:\n" + "".join(
    f"  a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9 if i else ['x'])}]\n" for i in range(30)
)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("events: [{kind: jsonl, path: x, labels: [7]}]", 'labels.0: expected text, got a whole number; quote it: "7"'),
        ("events: [{kind: jsonl, path: x, labels: [no]}]", 'got true or false; quote it: "no"'),
        ("events: [{kind: jsonl, path: x, labels: [2024-01-02]}]", 'got a date; quote it: "2024-01-02"'),
        ("events: [{kind: jsonl, path: x, labels: [2024-13-02]}]", "2024-13-02 looks like a date but is not one"),
        ("events: [{kind: jsonl, path: x, labels: [0640]}]", 'quote it: "0640"'),
        ("source: 0", 'source: expected text, got a whole number; quote it: "0"'),
        ("source: ~", 'quote it: "~"'),
        ("source: =", 'source: = has a meaning of its own in YAML; quote it: "="'),
        ("capture: {width: 0640}", "capture.width: YAML reads 0640 as 416; write 640, or quote it"),
        ("preprocess: {canny: [010, 30]}", "preprocess.canny.0: YAML reads 010 as 8; write 10"),
        ("capture: {width: 10:40}", "capture.width: YAML reads 10:40 as 640"),
        ("engine: {threads: 08}", "expected a whole number, got text; write 8"),
        ("decide: {threshold: 5e-1}", "write 0.5"),
        ('decide: {threshold: "0,5"}', "write 0.5"),
        ("log: {level: off}", "log.level: expected text, got true or false; one of: debug"),
        ("web: {listen: 8080}", "expected text, got a whole number; for example 127.0.0.1:8080"),
        ("decide: {threshold: 60}", "expected a number of at most 1; it takes a number, 0 to 1"),
        ("decide: {hold: ten}", "it takes a whole number, 0 to 1000"),
        ("display: none", "it takes a block of these keys: kind, fullscreen, inset, stats"),
        ("web: 8080", "it takes true or false or a block of these keys: listen, share"),
        ("events: {kind: mqtt}", "it takes a list: [one, another], or a line each that begins with `- `"),
        ("events: [{kind: command, argv: echo}]", "it takes a list: [one, another]"),
        ("capture: {rotate: 45}", "rotate: invalid value 45; one of: 0, 90, 180, 270"),
        ('keep: "off"', "without quotes: off"),
        ("decide:\n  hold:\n", "expected a whole number, got nothing; give it a value, or remove the line"),
        ("preprocess: &a {x: *a}", "preprocess.x: refers to itself"),
        ("events: &e [{kind: jsonl, path: a}, *e]", "events.1: refers to itself"),
        ("decide: {1: 2}", 'decide.1: a key must be text, this is a number; quote it: "1"'),
        ("decide: {threshold: 0,6}", "decide.threshold: YAML reads 0,6 as two entries; write 0.6"),
        ("decide: {hold: 3, 6}", "decide.hold: YAML reads 3,6 as two entries; write 3.6"),
        ("decide: {hold: 3, 6: 1}", 'decide.6: a key must be text, this is a number; quote it: "6"'),
        ("decide:\n  threshold: 0,6\n", "decide.threshold: expected a number, got text; write 0.6"),
        ("on: 2", 'a key must be text, this is true or false; quote it: "on"'),
        ("? [a]\n: c", "a list or a block cannot be a key"),
        ("source: !!python/name:os.system x", "the tag !!python/name:os.system is not supported here; remove it"),
        ("preprocess: {<<: 3}", "only blocks of keys can be merged"),
        ("decide: {<<: *nope}", "found undefined alias"),
        ('source: "a\\x1b[31m"', "source: there is a control character in it"),
        ("decide:\n\thold: 2", "use spaces, not tabs"),
        ("events: [{kind: jsonl, path: ~nobody-here/x}]", "events[jsonl].path: ~nobody-here is not a user's home here"),
        ("preprocess: " + "[" * 600, "nested too deeply"),
        ("preprocess: {n: " + "9" * 5000 + "}", "looks like a number but is not one"),
        (BOMB, "stands for more than 10000 values"),
    ],
)
def test_what_yaml_makes_of_values_is_told_in_one_line(text: str, said: str) -> None:
    with pytest.raises(ConfigError) as raised:
        config.parse(text, "c.yaml")
    assert said in str(raised.value) and str(raised.value).startswith("c.yaml:")
    assert "\n" not in str(raised.value)


def test_anchors_and_merges_are_read() -> None:
    read = config.parse(
        "decide: &d {threshold: 0.5, hold: 3}\nengine: {threads: 0x2}\npreprocess: {<<: *d, roi: 0.5}\n"
    )
    assert read.decide.hold == 3 and read.preprocess == {"threshold": 0.5, "hold": 3, "roi": 0.5}
    assert config.parse("---\n# nothing\n...\n") == Config()


def test_a_mistake_beside_merged_keys_is_named_with_the_line_it_stands_on() -> None:
    with pytest.raises(ConfigError, match=r"^c\.yaml:3: display\.fullscreen"):
        config.parse("display:\n  <<: {fullscreen: true}\n  fullscreen: 3\n", "c.yaml")


def test_every_path_starts_at_home_with_a_tilde(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    read = config.parse(
        """
source: ~/clip.mp4
model: ~/model
web: {token_file: ~/token, tls_cert: ~/cert, tls_key: ~/key}
keep: {folder: ~/kept}
events:
  - {kind: jsonl, path: ~/events}
  - {kind: mqtt, host: h, password_file: ~/pw, ca_file: ~/ca}
  - {kind: webhook, url: "http://h/", secret_file: ~/secret, ca_file: ~}
  - {kind: command, argv: [~/bin/tell, ~/as-it-is]}
""".replace("ca_file: ~}", "ca_file: ~/ca}")
    )
    told = json.dumps(msgspec.to_builtins(read))
    assert told.count(f'"{tmp_path}/') == 12 and told.count('"~/') == 1
    assert read.events[3].argv == (f"{tmp_path}/bin/tell", "~/as-it-is")  # type: ignore[union-attr]


RELATIVE = """
source: clips/clip.mp4
source_login: {password_file: pw, ca_file: ../ca.pem}
model: ./model
engine: {token_file: "env:TOKEN", ca_file: ''}
web: {token_file: token, tls_cert: tls/cert, tls_key: tls/key}
keep: {folder: kept}
events:
  - {kind: jsonl, path: events}
  - {kind: jsonl, path: '-'}
  - {kind: mqtt, host: h, password_file: "credential:broker", ca_file: ca}
  - {kind: webhook, url: "http://h/", secret_file: secret}
  - {kind: command, argv: [bin/tell, bin/as-it-is]}
  - {kind: command, argv: [curl, x]}
  - {kind: notify, urls_file: urls}
"""


@pytest.mark.parametrize("how", ["whole", "relative", "link"])
def test_a_relative_path_starts_from_the_folder_of_the_file(
    how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the folder is that a command is called from, and whatever a link there leads to."""
    etc = tmp_path / "etc"
    (etc / "sub").mkdir(parents=True)
    monkeypatch.chdir(etc / "sub")
    (etc / "c.yaml").write_text(RELATIVE)
    if how == "link":
        (etc / "c.yaml").rename(tmp_path / "elsewhere.yaml")
        (etc / "c.yaml").symlink_to(tmp_path / "elsewhere.yaml")
    read = config.load(etc / "c.yaml" if how != "relative" else Path("../c.yaml"))
    assert (read.source, read.model) == (f"{etc}/clips/clip.mp4", f"{etc}/model")
    assert read.source_login == config.SourceLogin(password_file=f"{etc}/pw", ca_file=f"{etc}/../ca.pem")
    assert (read.engine.token_file, read.engine.ca_file) == ("env:TOKEN", "")
    assert read.web == config.Web(token_file=f"{etc}/token", tls_cert=f"{etc}/tls/cert", tls_key=f"{etc}/tls/key")
    assert isinstance(read.keep, config.Keep) and read.keep.folder == f"{etc}/kept"
    lines, out, mqtt, hook, tell, curl, notify = read.events
    assert isinstance(lines, config.Jsonl) and lines.path == f"{etc}/events"
    assert isinstance(out, config.Jsonl) and out.path == "-"
    assert isinstance(mqtt, config.Mqtt) and (mqtt.password_file, mqtt.ca_file) == ("credential:broker", f"{etc}/ca")
    assert isinstance(hook, config.Webhook) and hook.secret_file == f"{etc}/secret"
    assert isinstance(tell, config.Command) and tell.argv == (f"{etc}/bin/tell", "bin/as-it-is")
    assert isinstance(curl, config.Command) and curl.argv == ("curl", "x")
    assert isinstance(notify, config.Notify) and notify.urls_file == f"{etc}/urls"


@pytest.mark.parametrize(
    ("source", "read"),
    [
        ("photos", "{}/photos"),
        ("./camera", "{}/camera"),
        ("file://clip.mp4", "file://{}/clip.mp4"),
        ("there@2x.png", "{}/there@2x.png"),
        *((same, same) for same in ("camera", "camera:C270", "demo", "picamera", "/dev/video0", "/a/b.mp4", "camra",
          "rtsp://cam/1", "http:/cam/1", "192.0.2.7/live", "0", "me:secret@cam/1", "file:///a/b.mp4")),
    ],
)  # fmt: skip
def test_a_source_is_a_path_only_if_it_can_be_nothing_else(source: str, read: str, tmp_path: Path) -> None:
    (tmp_path / "there@2x.png").touch()
    (tmp_path / "c.yaml").write_text(f"source: '{source}'\n")
    assert config.load(tmp_path / "c.yaml").source == read.format(tmp_path)


def test_every_key_that_names_a_file_is_a_path() -> None:
    """A new one that is not is found by its name."""

    def keys(kind: Any, at: str = "") -> Iterator[tuple[str, Any]]:
        for field in msgspec.structs.fields(kind):
            yield f"{at}{field.name}", field.type
            inner = field.type
            for part in (inner, *get_args(inner), *(p for a in get_args(inner) for p in get_args(a))):
                if isinstance(part, type) and issubclass(part, msgspec.Struct):
                    yield from keys(part, f"{at}{field.name}.")

    named = [(name, kind) for name, kind in keys(Config) if name.rpartition(".")[2].endswith(("_file", "path", "folder",
             "tls_cert", "tls_key"))]  # fmt: skip
    assert len(named) >= 8
    assert [name for name, kind in named if not path_kind(kind)] == []


def test_a_model_that_is_not_there_is_named_by_file_line_and_key(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("source: demo\nmodel: nothere\n")
    read = config.load(path)
    with pytest.raises(NoInput, match=r"no model called 'nothere'; .*; it is named in .*c\.yaml:2: model$"):
        config.named_model(read, path)
    given = msgspec.structs.replace(read, model="other")
    with pytest.raises(NoInput, match=r"no model called 'other'; [^;]*; [^;]*$"):
        config.named_model(given, path)


def test_what_is_no_configuration_is_not_read_whole() -> None:
    with pytest.raises(ConfigError, match="larger than a configuration can be"):
        config.load(Path("/dev/zero"))


def test_overrides_of_the_card() -> None:
    assert config.tuned(CARD, {"canny": [80, 20], "roi": 0.5}) == Edges(roi=0.5, canny=(80.0, 20.0))
    with pytest.raises(ConfigError, match="edges: roi, canny"):
        config.tuned(CARD, {"colour": "rgb"})
    with pytest.raises(ConfigError, match="roi"):
        config.tuned(CARD, {"roi": 7})


@pytest.mark.parametrize(("block", "said"), [
    ("  roi: {x: 0.1, y: 3, size: 0.2}", r"c\.yaml:3: preprocess\.roi\.y: expected a number of at most 1"),
    ("  canny: [90, x]", r"c\.yaml:3: preprocess\.canny\.1: expected a number"),
    ("  colour: rgb", r"c\.yaml:3: preprocess\.colour: no such key; model digits uses the chain edges: roi, canny"),
    ("  rio: 0.4", r"c\.yaml:3: preprocess\.rio: no such key; did you mean roi\?"),
    ("  canny: 90", r"preprocess\.canny: expected a list, got a whole number; it takes .*, such as canny: \[90\.0, 30"),
])  # fmt: skip
def test_a_wrong_override_is_named_by_file_line_and_key(block: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(f"source: demo\npreprocess:\n{block}\n")
    with pytest.raises(ConfigError, match=said):
        config.tuned(CARD, config.load(path).preprocess, path)


@pytest.mark.parametrize("text", ["preprocess: {scale: .nan}", "capture: {controls: {gain: .NaN}}"])
def test_values_that_are_not_numbers_are_refused_anywhere(text: str) -> None:
    with pytest.raises(ConfigError, match="is not a number"):
        config.parse(text)


COMMENTED = """\
# mine
source: demo   # drawn
capture:
  # big
  width: 640   # px
preprocess: {}  # none yet
decide: {threshold: 0.7}
"""


@pytest.mark.parametrize(
    ("key", "value", "line"),
    [
        ("source", "camera", "source: camera   # drawn"),
        ("capture.width", 1280, "  width: 1280   # px"),
        ("capture.height", 720, "  height: 720"),
        ("preprocess.canny", [80, 30], "preprocess: {canny: [80, 30]}  # none yet"),
        ("decide.smooth", 0.5, "decide: {threshold: 0.7, smooth: 0.5}"),
        ("decide.threshold", 0.9, "decide: {threshold: 0.9}"),
        ("engine.kind", "ncs", "engine: {kind: ncs}"),
    ],
)
def test_keep_changes_one_key_and_nothing_else(tmp_path: Path, key: str, value: object, line: str) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(COMMENTED)
    config.save(path, {key: value})
    after = path.read_text().splitlines()
    assert line in after
    before = COMMENTED.splitlines()
    changed = [old for old in before if old not in after]
    assert len(changed) <= 1
    node: object = yaml.safe_load(path.read_text())
    for part in key.split("."):
        node = node[part]  # type: ignore[index]
    assert node == value


def test_keep_refuses_what_would_not_load_and_leaves_the_file(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(COMMENTED)
    with pytest.raises(ConfigError):
        config.save(path, {"decide.threshold": 7})
    assert path.read_text() == COMMENTED
    assert list(tmp_path.iterdir()) == [path]


def test_keep_preserves_permissions_and_creates_a_missing_file(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("source: demo\n")
    path.chmod(0o640)
    config.save(path, {"decide.threshold": 0.5})
    assert path.stat().st_mode & 0o777 == 0o640
    config.save(tmp_path / "new.yaml", {"decide.threshold": 0.5})
    assert config.load(tmp_path / "new.yaml").decide.threshold == 0.5


def test_keep_sweeps_up_what_a_power_cut_left(tmp_path: Path) -> None:
    path, old, young, other = (tmp_path / n for n in ("c.yaml", ".c.yaml.12345678", ".c.yaml.abcdefgh", ".c.yaml.swp"))
    for file in (path, old, young, other):
        file.write_text("")
    for file in (old, other):
        os.utime(file, (0, 0))
    config.save(path, {"decide.threshold": 0.5})
    assert {*tmp_path.iterdir()} == {path, young, other}


@pytest.mark.parametrize(
    "text",
    [
        SHIPPED.read_text(),
        "decide: {hold:}\n",
        "source\t: demo\n",
        "source: demo\t# the built-in one\n",
        "capture: {controls: {a?b: 1}}\n",
        "capture:\n  controls: {a: 1, ? b: 2}\n",
        "web:\n  listen: 127.0.0.1:8080\n\ufeff",
        "base: &a {threshold: 0.7}\ndecide:\n  <<: *a\n  threshold: 0.8\n",
        "decide: &a {hold: 3, x: *a}\n",
        "decide:\n\thold: 3\n",
        "decide: {hold: 3\n",
        "model: “digits”\nsource: '☃ café'\n",
        "[" * 2000,
        "a: \x07\n",
    ],
)
def test_both_of_yamls_loaders_read_and_refuse_alike(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def read() -> object:
        try:
            return config.parse(text)
        except ConfigError as error:
            return str(error)

    quick = read()
    monkeypatch.setattr(yaml_tree, "QUICK_LOADER", yaml.SafeLoader)
    assert read() == quick


CHANGES = 15
CHANGE = f"""
import sys
from pathlib import Path
from picam_infer import config
for number in range({CHANGES}):
    config.save(Path(sys.argv[1]), {{sys.argv[2]: int(sys.argv[3]) + number}})
"""


def test_writers_of_other_keys_lose_nothing_of_each_other(tmp_path: Path) -> None:
    """Four processes change a key each, again and again: every one finds its own last value at the end."""
    path, keys = tmp_path / "c.yaml", ("capture.width", "capture.height", "capture.fps", "decide.top")
    path.write_text(COMMENTED)
    command = [sys.executable, "-c", CHANGE, str(path)]
    writers = [subprocess.Popen([*command, key, str(40 + at)]) for at, key in enumerate(keys)]
    assert [writer.wait(60) for writer in writers] == [0] * len(keys)
    capture, decide = config.load(path).capture, config.load(path).decide
    wanted = [40 + at + CHANGES - 1 for at in range(len(keys))]
    assert [capture.width, capture.height, capture.fps, decide.top] == wanted


def test_who_does_not_finish_changing_a_file_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("picam_infer.config.writer._PATIENCE_S", 0.05)
    path = tmp_path / "c.yaml"
    hold = "import fcntl, os, sys; fcntl.flock(os.open(sys.argv[1], os.O_RDONLY), fcntl.LOCK_EX); print(); input()"
    command = [sys.executable, "-c", hold, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        with pytest.raises(Busy, match=r"c\.yaml: (process \d+|another program) is changing the settings.*; .*end it"):
            config.save(path, {"decide.threshold": 0.5})
        holder.kill()
    config.save(path, {"decide.threshold": 0.5})


@pytest.mark.parametrize("key", ["9" * 5000, "²", "-1", "2"])
def test_a_number_that_no_item_has_is_refused(tmp_path: Path, key: str) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("preprocess:\n  canny: [80, 20]\n")
    with pytest.raises(ConfigError):
        config.save(path, {f"preprocess.canny.{key}": 5})
    assert path.read_text() == "preprocess:\n  canny: [80, 20]\n"
