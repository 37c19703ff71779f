"""What went wrong with a stick, in plain words: a cause and a remedy for every NCSDK2 status at every step."""

from __future__ import annotations

from picam_infer.core import Problem
from picam_infer.models.bundle import Bundle

INSTALL = "run scripts/install-ncsdk.sh"
FIRMWARE = "MvNCAPI-ma2450.mvcmd belongs in the folder mvnc beside libmvnc.so (/usr/local/lib/mvnc); " + INSTALL
REPLUG = "unplug the stick and plug it in again, into the Pi itself or a powered hub"
COMPILE = "compile it again with NCSDK 2.10's mvNCCompile: picam-infer compile-ncs MODEL"


NAMES = {
    0: "OK",
    -1: "BUSY",
    -2: "ERROR",
    -3: "OUT_OF_MEMORY",
    -4: "DEVICE_NOT_FOUND",
    -5: "INVALID_PARAMETERS",
    -6: "TIMEOUT",
    -7: "MVCMD_NOT_FOUND",
    -8: "NOT_ALLOCATED",
    -9: "UNAUTHORIZED",
    -10: "UNSUPPORTED_GRAPH_FILE",
    -11: "UNSUPPORTED_CONFIGURATION_FILE",
    -12: "UNSUPPORTED_FEATURE",
    -13: "MYRIAD_ERROR",
    -14: "INVALID_DATA_LENGTH",
    -15: "INVALID_HANDLE",
}

# By (step, status); a step of "" serves every step.
_CAUSES = {
    ("import", "ImportError"): Problem("the Python module mvnc is not installed", INSTALL),
    ("import", "OSError"): Problem("mvnc is installed but its library libmvnc.so does not load", INSTALL),
    ("enumerate", "DEVICE_NOT_FOUND"): Problem("no Neural Compute Stick is plugged in", "plug one in"),
    ("open", "ERROR"): Problem(
        "the stick could not be opened: another program may hold it, or it did not start",
        "stop the other program, or " + REPLUG,
    ),
    ("allocate", "ERROR"): Problem("the stick refused the graph", COMPILE),
    ("allocate", "MYRIAD_ERROR"): Problem("the stick reported an error while it loaded the graph", COMPILE),
    ("allocate", "OUT_OF_MEMORY"): Problem("the graph does not fit into the stick's memory", "use a smaller model"),
    ("allocate", "INVALID_PARAMETERS"): Problem("the file is not a Movidius graph", COMPILE),
    ("", "BUSY"): Problem("the stick is busy", "it is tried again; if that does not help, " + REPLUG),
    ("", "ERROR"): Problem("the connection to the stick was lost", REPLUG),
    ("", "OUT_OF_MEMORY"): Problem("the stick or the Pi is out of memory", "use a smaller model; close other programs"),
    ("", "DEVICE_NOT_FOUND"): Problem("the stick is gone", "plug it in again"),
    ("", "INVALID_PARAMETERS"): Problem("libmvnc refused a parameter", "this needs NCSDK 2.10; " + INSTALL),
    ("", "TIMEOUT"): Problem("the stick did not answer in time", REPLUG),
    ("", "MVCMD_NOT_FOUND"): Problem("the stick's firmware is missing", FIRMWARE),
    ("", "NOT_ALLOCATED"): Problem("the graph is no longer on the stick", "it is loaded again"),
    ("", "UNAUTHORIZED"): Problem("libmvnc refused the call in this state", "the stick is opened again"),
    ("", "UNSUPPORTED_GRAPH_FILE"): Problem(
        "the graph was compiled by another SDK version, or is not a graph", COMPILE
    ),
    ("", "UNSUPPORTED_CONFIGURATION_FILE"): Problem("the stick refused its configuration", INSTALL),
    ("", "UNSUPPORTED_FEATURE"): Problem("the stick's firmware does not know this call", INSTALL),
    ("", "MYRIAD_ERROR"): Problem(
        "the stick itself reported an error", "the stick is opened again; if that does not help, " + REPLUG
    ),
    ("", "INVALID_DATA_LENGTH"): Problem(
        "the picture does not have the size that the graph takes", "the graph belongs to another model: " + COMPILE
    ),
    ("", "INVALID_HANDLE"): Problem("libmvnc no longer knows the stick", "the stick is opened again"),
}

DOING = {
    "import": "loading mvnc",
    "enumerate": "looking for sticks",
    "open": "opening the stick",
    "allocate": "loading the graph",
    "queue": "sending a picture",
    "read": "waiting for an answer",
    "options": "asking the stick for its state",
    "close": "closing the stick",
}


def explain(step: str, status: str, detail: str = "") -> Problem:
    """Return why `step` (a key of `DOING`) failed with that status, and what to do; `detail` is appended unchanged.

    A status is its name, `status N`, or an exception's name.
    """
    word, _, number = status.partition(" ")
    if word == "status" and number.lstrip("-").isdigit():
        status = NAMES.get(int(number), status)
    cause = _CAUSES.get((step, status)) or _CAUSES.get(("", status))
    if cause is None:
        hint = INSTALL if step == "import" else REPLUG
        cause = Problem(f"{DOING.get(step, step)} failed with {status}", hint)
    noted = f"{status} while {DOING.get(step, step)}"
    if detail:
        noted += f": {detail}"
    return Problem(f"{cause.what} ({noted})", cause.remedy)


def silent(step: str, seconds: float) -> Problem:
    """Return the words for a step that did not end within its deadline."""
    took = f"{DOING.get(step, step)} took longer than {seconds:g} s"
    if step == "import":  # no stick is involved yet
        return Problem(
            f"libmvnc does not start ({took})", "it is tried again; is the machine overloaded? If not, " + INSTALL
        )
    return Problem(f"the stick stopped answering ({took})", REPLUG)


def died(step: str, code: int) -> Problem:
    """Return the words for a child that ended by itself during `step`; `code` is a process's exit code."""
    how = f"was ended by signal {-code}" if code < 0 else f"ended with code {code}"
    doing = DOING.get(step, step)
    return Problem(
        f"libmvnc crashed while {doing} (its process {how})", "it is started again; if it keeps happening, " + REPLUG
    )


def make_graph(bundle: Bundle) -> str:
    """Return the command that makes a bundle's graph; a taught bundle's graph ends with the features."""
    if bundle.card.taught is None:
        return "make one: picam-infer compile-ncs MODEL"
    return f"make one of its features: picam-infer compile-ncs MODEL-IT-WAS-TAUGHT-ON.h5 -o {bundle.folder}"
