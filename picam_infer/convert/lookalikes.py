"""Files named like a model that are something else: what each is, judged by its content, and the remedy."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from picam_infer.core import PicamError, counted
from picam_infer.platform import regular_file

HEAD = 64 << 10
"""How much of a file is looked at, in bytes."""

_MODEL = "give the file of the model instead; picam-infer classify takes pictures"
_UNPACK = "unpack it and give the model that is in it"
_DOWNLOAD = "download the file itself: “save link” saves the page that shows it"
_PROJECT_HINT = "open it in Teachable Machine, choose Export Model, “Tensorflow”, “Keras”, and give that download"
_ONNX = "export the network as ONNX (torch.onnx.export) and give that file"
_MAGICS: tuple[tuple[bytes, str, str], ...] = (
    (b"Rar!\x1a\x07", "a RAR archive", _UNPACK),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive", _UNPACK),
    (b"\x28\xb5\x2f\xfd", "packed with Zstandard", _UNPACK),
    (b"\x04\x22\x4d\x18", "packed with LZ4", _UNPACK),
    (b"MSCF", "a Windows cabinet archive", _UNPACK),
    (b"xar!", "a macOS installer archive", _UNPACK),
    (b"\x00\x05\x16\x07", "macOS's extra file about another file", "give the file whose name lacks the ._ in front"),
    (b"\x00\x05\x16\x00", "macOS's AppleSingle container", "copy the original file again"),
    (b"book\x00\x00\x00\x00mark", "a macOS alias", "copy the file that it leads to"),
    (b"L\x00\x00\x00\x01\x14\x02\x00", "a Windows shortcut", "copy the file that it leads to"),
    (b"bplist00", "a macOS property list or web link", "copy the file that it leads to"),
    (b"\x93NUMPY", "an array saved by NumPy", "give the whole model, not one of its arrays"),
    (b"GGUF", "a language model (GGUF)", "no such model looks at a camera's picture here"),
    (b"\xff\xd8\xff", "a picture (JPEG)", _MODEL),
    (b"\x89PNG", "a picture (PNG)", _MODEL),
    (b"GIF8", "a picture (GIF)", _MODEL),
    (b"%PDF", "a PDF document", "give the model itself"),
    (b"MZ", "a Windows program", "give the model itself"),
    (b"\x7fELF", "a Linux program", "give the model itself"),
    (b"SQLite format 3", "an SQLite database", "give the model itself"),
)
_SUFFIXES: dict[str, tuple[str, str]] = {
    ".pt": ("a PyTorch file", _ONNX),
    ".pth": ("a PyTorch file", _ONNX),
    ".ptl": ("a PyTorch Lite file", _ONNX),
    ".safetensors": ("a file of weights without a network (safetensors)", _ONNX),
    ".mlmodel": ("a Core ML model", "export it as Keras, ONNX or TensorFlow Lite where it was made"),
    ".caffemodel": ("a Caffe model", "convert it to ONNX first"),
    ".prototxt": ("a Caffe network without weights", "convert it to ONNX first"),
    ".pbtxt": ("a TensorFlow graph as text", "export it as a SavedModel or a frozen .pb"),
    ".weights": ("a Darknet file of weights", "convert it to ONNX first"),
    ".blob": ("compiled for a Myriad X", "give the model that it was compiled from"),
    ".engine": ("compiled for one NVIDIA card", "give the model that it was compiled from"),
    ".index": ("the index of a TensorFlow checkpoint", "give the checkpoint's .meta, or a SavedModel"),
    ".crdownload": ("an unfinished download", "let the browser finish it, or download it again"),
    ".part": ("an unfinished download", "let the browser finish it, or download it again"),
    ".partial": ("an unfinished download", "let the browser finish it, or download it again"),
    ".download": ("an unfinished download", "let the browser finish it, or download it again"),
}
_LFS = re.compile(r"version https://(?:git-lfs|hawser)[.\w-]*/")
_ANNEX = re.compile(r"(?:\.\./)*(?:\.git/|/)annex/objects/")
_HTML = re.compile(r"<!doctype\s+html|<(?:html|head|body|script|meta|title)\b", re.IGNORECASE)
_TITLE = re.compile(r"<title[^>]*>\s*([^<]{1,200})", re.IGNORECASE)
_LOGIN = re.compile(r"\b(?:sign[- ]?in|log[- ]?in|login|anmelden|password)\b", re.IGNORECASE)


def refuse_part(path: Path) -> None:
    """Raise `PicamError` if a part of a model (its weights) is a pointer, a web page or the like. Raises `NoInput`."""
    text = as_text(head(path))
    found = _text(path.name, path, text) if text is not None else None
    if found is not None:
        raise found


def refuse_pointer(path: Path) -> None:
    """Raise `PicamError` if a text, such as a list of labels, is a pointer or a web page. Raises `NoInput`."""
    text = as_text(head(path))
    found = _pointer(path.name, path, text) if text else None
    if found is None and text and _HTML.match(text):
        found = _markup(path.name, text)
    if found is not None:
        raise found


def head(path: Path) -> bytes:
    """Return a file's first bytes. Raises `NoInput`."""
    try:
        regular_file.require(path)
        with path.open("rb") as file:
            return file.read(HEAD)
    except (OSError, ValueError) as error:
        raise regular_file.unreadable(path, error) from error


def tell(path: Path, start: bytes) -> PicamError | None:
    """Return the error for a file that is something else than a model, knowing its first bytes."""
    name = path.name
    if not start:
        return PicamError(f"{name} is empty", "copy or export it again")
    text = as_text(start)
    if text is not None:
        return _text(name, path, text) or by_suffix(path)
    for magic, what, hint in _MAGICS:
        if start.startswith(magic):
            return PicamError(f"{name} is {what}", hint)
    if start[:1] == b"\x80" and start[1:2] in b"\x02\x03\x04\x05" and start[1:2]:
        return PicamError(
            f"{name} is a Python pickle (PyTorch and scikit-learn write such files), which is never run", _ONNX
        )
    if start[8:10] == b'{"' and int.from_bytes(start[:8], "little") < 1 << 27:
        return PicamError(f"{name} is {_SUFFIXES['.safetensors'][0]}", _ONNX)
    if not start.strip(b"\0"):
        return PicamError(f"{name} begins with nothing but zeros, as an unfinished download does", "download it again")
    return by_suffix(path)


def by_suffix(path: Path) -> PicamError | None:
    """Return the error for a file whose name alone says that it is not a model we read."""
    known = _SUFFIXES.get(path.suffix.lower())
    if known is None and re.search(r"\.data-\d{5}-of-\d{5}\Z", path.name):
        known = ("a part of a TensorFlow checkpoint", "give the checkpoint's .meta, or the folder of its SavedModel")
    return PicamError(f"{path.name} is {known[0]}", known[1]) if known else None


def as_text(start: bytes) -> str | None:
    """Return a file's beginning as text without leading blanks; None if it is not text."""
    if start[:2] in (b"\xff\xfe", b"\xfe\xff"):
        text = start.decode("utf-16", "ignore")
    else:
        try:
            text = start.decode("utf-8-sig", "strict")
        except UnicodeDecodeError as error:
            # The cut may have split a character; web pages of other encodings show by their tags.
            if error.start < len(start) - 4 and start.lstrip()[:1] != b"<":
                return None
            text = start.decode("latin-1" if start.lstrip()[:1] == b"<" else "utf-8", "ignore")
    text = text.lstrip("\ufeff \t\r\n")
    if not text or any(char < " " and char not in "\t\r\n\f\x1b" for char in text[:4096]):
        return None
    return text


def _pointer(name: str, path: Path, text: str) -> PicamError | None:
    """Return the error for a text that is a pointer to a file kept elsewhere."""
    if _LFS.match(text):
        size = re.search(r"^size (\d{1,18})\s*$", text, re.MULTILINE)
        of = f" for {int(size[1]):,} bytes" if size else ""
        return PicamError(
            f"{name} is a Git LFS pointer{of}, not the file itself",
            "fetch the file with: git lfs pull, or by the download button of its page",
        )
    if _ANNEX.match(text):
        return PicamError(
            f"{name} is a git-annex pointer, not the file itself", f"fetch the file with: git annex get {name}"
        )
    if re.match(r"(?:md5:|outs:)", text) and "md5:" in text and path.suffix != ".json":
        return PicamError(f"{name} is a DVC pointer, not the file itself", f"fetch the file with: dvc pull {name}")
    if re.match(r"\[(?:InternetShortcut|Desktop Entry)\]", text):
        return PicamError(f"{name} is a link, not the file itself", "copy the file that it leads to")
    return None


def _text(name: str, path: Path, text: str) -> PicamError | None:
    found = _pointer(name, path, text)
    if found is not None:
        return found
    if text[0] == "<":
        return _markup(name, text)
    if text[0] in "{[":
        return _message(name, text, path.suffix.lower() == ".json")
    return None


def _markup(name: str, text: str) -> PicamError | None:
    if re.match(r"(?s)(?:<\?xml.*?\?>\s*)?(?:<!--.*?-->\s*)*<(?:net|Net)\b", text):
        return None
    if not _HTML.search(text[:4096]):
        code = re.search(r"<Code>\s*([\w.-]{1,60})\s*</Code>", text)
        if code:
            hint = "its link has expired or needs a login: download it again"
            return PicamError(f"{name} is a server's refusal ({code[1]}), not the file itself", hint)
        return (
            None if text.startswith("<?xml") else PicamError(f"{name} is a text, not a model", "give the model itself")
        )
    title = _TITLE.search(text)
    shown = f" (“{' '.join(title[1].split())[:60]}”)" if title and title[1].strip() else ""
    return PicamError(f"{name} is a web page{shown}, not the file itself", _page_hint(text))


def _page_hint(text: str) -> str:
    low = text.lower()
    if "github.com" in low or "githubassets" in low:
        return "use the button “Download raw file” on its GitHub page"
    if "drive.google.com" in low or "google drive" in low:
        return "open the link in a browser and download it there: Google Drive asks before it sends large files"
    if _LOGIN.search(text):
        return "its server wants a login: sign in with a browser and download it there"
    return _DOWNLOAD


def _message(name: str, text: str, honest: bool) -> PicamError | None:
    """Return the error for JSON that does not describe a model: a server's answer, or (`honest`, by its name) other."""
    if re.search(r'"(?:class_name|modelTopology|weightsManifest)"', text):
        return None
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        return None if honest else PicamError(f"{name} is a JSON text, not a model", _DOWNLOAD)
    said = _said(content)
    if honest and not said:
        return PicamError(
            f"{name} describes no network", "give the model.json of TensorFlow.js or of Keras, or the model itself"
        )
    shown = f" that says “{said}”" if said else ""
    return PicamError(f"{name} is a server's answer as JSON{shown}, not the file itself", "download it again")


def _said(content: object) -> str:
    """Return the sentence in a server's JSON answer, however deep its customs put it."""
    for _ in range(3):
        if isinstance(content, str):
            return " ".join(content.split())[:80]
        if isinstance(content, list):
            content = content[0] if content else ""
        elif isinstance(content, dict):
            keys = ("message", "error_description", "error", "detail", "title", "errors")
            content = next((content[key] for key in keys if content.get(key)), "")
    return ""


def tell_archive(path: Path, names: Iterable[str]) -> PicamError | None:
    """Return the error for a zip or a folder whose files' names show that it is not a model's package."""
    inside = [PurePosixPath(name.replace("\\", "/")) for name in names]
    files = {entry.name for entry in inside}
    samples = [entry for entry in inside if "-!-" in entry.name]
    if "manifest.json" in files and (samples or path.suffix.lower() == ".tm"):
        return PicamError(
            f"{path.name} is a Teachable Machine project: its {counted(len(samples), 'sample')}, no trained model",
            _PROJECT_HINT,
        )
    if path.suffix.lower() == ".tm":
        return PicamError(f"{path.name} is a Teachable Machine project, no trained model", _PROJECT_HINT)
    if "data.pkl" in files:
        return PicamError(f"{path.name} is a PyTorch file", _ONNX)
    if "[Content_Types].xml" in files:
        return PicamError(f"{path.name} is an Office document", "give the model itself")
    if files and all(name.endswith(".npy") for name in files):
        return PicamError(f"{path.name} holds arrays saved by NumPy, without a network", "give the whole model")
    return None
