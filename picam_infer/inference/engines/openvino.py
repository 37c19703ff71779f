"""OpenVINO: the network on the CPU, or on any device that the installed runtime knows."""

from __future__ import annotations

import contextlib
import math
import os
import re
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import numpy.typing as npt

from picam_infer.config import EngineSettings
from picam_infer.core import NoInput, Pixels, Scores, Telemetry, Unavailable
from picam_infer.inference.engines import twins
from picam_infer.models.bundle import Bundle, BundleError
from picam_infer.platform import memory, regular_file

if TYPE_CHECKING:
    import openvino as ov

_loading = threading.Lock()
CACHE_MB = 100
"""How many bytes the cache of compiled networks may take: every lesson, and every correction, adds one."""
QUICK_S = 0.01
"""An inference this fast on one thread keeps up with any camera and leaves the other cores free."""


class Unreadable(BundleError, NoInput):
    """A bundle's network is there, but its files cannot be read."""


class OpenVino:
    """One compiled network and one infer request, reused for every inference, so memory stays flat."""

    depth = 1
    telemetry: Telemetry | None = None

    def __init__(self, bundle: Bundle, settings: EngineSettings, cache: Path | None = None) -> None:
        """Compile the bundle's network. Raises `BundleError` or `Unavailable`."""
        core = _core()
        model = _with_pixels_in(_read(core, bundle), bundle)
        device = settings.device or "CPU"
        twins.merge(model)
        self._request = _request(core, model, device, settings, cache)
        self._bound: Pixels | None = None
        self._output = self._request.get_output_tensor(0).data.reshape(-1)
        self.name = f"openvino:{device}"
        self.threads = _threads(self._request)
        """CPU threads that the network runs on; 0 where the device has none."""

    def submit(self, input_image: Pixels) -> None:
        """Infer (H, W, C) uint8."""
        if input_image is not self._bound:
            import openvino as ov

            # The request reads the caller's own buffer: no copy. Kept here, because the tensor does not keep it alive.
            self._bound = input_image
            self._request.set_input_tensor(0, ov.Tensor(np.ascontiguousarray(input_image)[None], shared_memory=True))
        self._request.infer(share_outputs=True)

    def collect(self) -> Scores:
        """Return probabilities (classes,) of what `submit` got."""
        return np.array(self._output, np.float32)

    def close(self) -> None:
        """Nothing to give back: the runtime frees the device with the request."""


def devices() -> list[tuple[str, str]]:
    """Return (name, full name) of the devices that this machine's OpenVINO has. Raises `Unavailable`."""
    core = _core()
    return [(name, str(core.get_property(name, "FULL_DEVICE_NAME"))) for name in core.available_devices]


def version() -> str:
    """Return the runtime's version, without the build's name. Raises `Unavailable`."""
    _core()
    import openvino as ov

    return str(ov.__version__).partition("-")[0]


def _core() -> ov.Core:
    if not os.path.isdir("/sys/devices"):  # noqa: PTH112  # its CPU plugin dies of a segmentation fault without it
        raise Unavailable("OpenVINO needs /sys, which is not mounted", "mount it, also inside a chroot or sandbox")
    load()
    import openvino as ov

    return ov.Core()


def load() -> None:
    """Import the runtime, in one thread at a time: a second one would find it half imported. Raises `Unavailable`.

    Its bindings prepare themselves for arrays at the first one that is asked for. Two threads that do so at once wait
    for each other for ever, one with Python's lock and one with theirs: so that is done here, too.
    """
    try:
        with _loading:
            import openvino

            openvino.Tensor(np.zeros(1, np.float32)).data  # noqa: B018
    except ImportError as error:
        remedy = memory.REMEDY if memory.is_short(error) else "it needs a 64-bit system: pip install openvino"
        raise Unavailable(f"OpenVINO cannot be loaded ({_short(error)})", remedy) from error


_IR = re.compile(rb'<net\s[^>]*\bversion="\d')
"""How a network's file begins. Anything else is tried as other formats, whose readers print lines of their own."""
_HEAD_BYTES = 4096


def read_network(bundle: Bundle, core: ov.Core | None = None) -> ov.Model:
    """Return a bundle's network as it is in the file. Raises `BundleError` or `Unavailable`."""
    core = core or _core()
    _require_readable(bundle)
    wrong = BundleError(f"{bundle.network} is not a network that OpenVINO can read", "copy or convert the model again")
    with bundle.network.open("rb") as file:
        if not _IR.search(file.read(_HEAD_BYTES)):
            raise wrong
    try:
        return core.read_model(bundle.network)
    except RuntimeError as error:
        raise wrong from error


def _require_readable(bundle: Bundle) -> None:
    """Raise `Unreadable` with the reason, of which OpenVINO says nothing."""
    for path in (bundle.network, bundle.network.with_suffix(".bin")):
        try:
            path.open("rb").close()
        except OSError as error:
            told = regular_file.unreadable(path, error)
            raise Unreadable(told.message, told.hint) from error


def _read(core: ov.Core, bundle: Bundle) -> ov.Model:
    model = read_network(bundle, core)
    if len(model.inputs) != 1 or len(model.outputs) != 1:
        raise BundleError(
            f"{bundle.network} has {len(model.inputs)} inputs and {len(model.outputs)} outputs",
            "one of each is needed: convert with --output-layer",
        ) from None
    shape = [d.get_length() if d.is_static else 0 for d in model.input(0).get_partial_shape()]
    if math.prod(shape) != math.prod(bundle.card.input.shape):
        raise BundleError(
            f"{bundle.network} takes {model.input(0).get_partial_shape()}, its card says "
            f"{list(bundle.card.input.shape)}",
            "convert the model again",
        )
    outputs = int(np.prod([d.get_length() for d in list(model.output(0).get_partial_shape())[1:]]))
    if outputs != len(bundle.labels):
        raise BundleError(
            f"model {bundle.name} has {outputs} outputs but {len(bundle.labels)} labels",
            f"correct {bundle.folder / 'labels.txt'}: one class a line, in training order",
        )
    return model


def network_of_pixels(bundle: Bundle, batch: int = 1) -> ov.Model:
    """Return a bundle's network with everything inside: uint8 pixels (batch, H, W, C) → (batch, classes) float32.

    `batch` -1: any. Raises `BundleError` or `Unavailable`.
    """
    model = _read(_core(), bundle)
    if batch != 1:
        _free_batch(model)
    return _with_pixels_in(model, bundle, batch)


def _free_batch(model: ov.Model) -> None:
    """Let every Reshape whose target begins with a batch of one, as converters write it, take any batch.

    Whether the whole network then takes any batch has to be tried.
    """
    from openvino import opset13 as ops

    for node in model.get_ordered_ops():
        if node.get_type_name() != "Reshape":
            continue
        target = node.input_value(1).get_node()
        wanted = list(target.get_data()) if target.get_type_name() == "Constant" else []
        if wanted[:1] != [1]:
            continue
        first = 0 if -1 in wanted else -1  # 0: as many as come in
        freed = ops.reshape(node.input_value(0), np.array([first, *wanted[1:]], np.int64), first == 0)
        for user in node.output(0).get_target_inputs():
            user.replace_source_output(freed.output(0))


def _with_pixels_in(model: ov.Model, bundle: Bundle, batch: int = 1) -> ov.Model:
    """Put uint8 pixels (batch, H, W, C), scale and (for logits) the softmax inside the graph."""
    import openvino as ov
    from openvino import opset13 as ops

    card = bundle.card
    channels_first = card.input.layout == "NCHW"
    sides = [card.input.height, card.input.width, card.input.channels]
    pixels = ops.parameter([batch, *sides], np.uint8, name="pixels")
    # Scaled as one row: for a picture, the compiler would swap the axes there and back before the first convolution.
    x = ops.convert(ops.reshape(pixels, np.array([batch, math.prod(sides)], np.int64), False), np.float32)
    scale, offset = card.normalisation.rows(card.input.height * card.input.width)
    x = ops.multiply(x, scale)
    if np.any(offset):
        x = ops.add(x, offset)
    old = model.get_parameters()[0]
    own = [batch, *[d.get_length() for d in list(old.get_partial_shape())[1:]]]
    if channels_first:
        x = ops.transpose(ops.reshape(x, np.array([batch, *sides], np.int64), False), np.array([0, 3, 1, 2]))
    x = ops.convert(ops.reshape(x, np.array(own, np.int64), False), old.get_element_type())
    for target in old.output(0).get_target_inputs():
        target.replace_source_output(x.output(0))
    scores = model.output(0).get_node().input_value(0)
    if card.softmax:
        scores = ops.softmax(scores, -1).output(0)
    answer = ops.convert(scores, np.float32)
    if batch != 1:
        answer = ops.reshape(answer, np.array([batch, len(bundle.labels)], np.int64), False)
    answer.output(0).get_tensor().set_names({"scores"})
    pixels.output(0).get_tensor().set_names({"pixels"})
    return ov.Model([ops.result(answer, name="scores")], [pixels], card.name)


def _request(core: ov.Core, model: ov.Model, device: str, settings: EngineSettings, cache: Path | None) -> Any:
    """Compile the network for as many threads as it needs, and return its infer request."""
    if settings.threads or not device.startswith("CPU"):
        return _compile(core, model, device, settings, cache).create_infer_request()
    # Splitting a small network up costs half as much again, as its threads wait for each other.
    alone = msgspec.structs.replace(settings, threads=1)
    request = _compile(core, model, device, alone, cache).create_infer_request()
    if any(_timed_s(request) < QUICK_S for _ in range(2)):  # the first sets memory up
        return request
    del request
    return _compile(core, model, device, settings, cache).create_infer_request()


def _threads(request: Any) -> int:
    try:
        return int(request.get_compiled_model().get_property("INFERENCE_NUM_THREADS"))
    except RuntimeError:  # this device has no such property
        return 0


def _timed_s(request: Any) -> float:
    """Return the processor time of an inference on one thread: a busy machine adds waiting, as after a start."""
    began_s, computed_s = time.perf_counter(), time.process_time()
    request.infer()
    return min(time.perf_counter() - began_s, time.process_time() - computed_s)


def _compile(core: ov.Core, model: ov.Model, device: str, settings: EngineSettings, cache: Path | None) -> Any:
    options: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY"}
    if device.startswith("CPU"):
        options["NUM_STREAMS"] = 1
        # Pinned, the calling thread is moved to another core and back for each inference, which costs as much as a
        # small network does.
        options["ENABLE_CPU_PINNING"] = False
        if settings.threads:
            options["INFERENCE_NUM_THREADS"] = settings.threads
    if settings.precision != "default":
        options["INFERENCE_PRECISION_HINT"] = settings.precision
    if cache is not None:
        options["CACHE_DIR"] = str(cache)
    try:
        compiled = core.compile_model(model, device, options)
        if cache is not None:
            _tidy(cache)
        return compiled
    except RuntimeError as error:
        if cache is not None:  # a full disk or a damaged cache must not keep the network from running
            return _compile(core, model, device, settings, None)
        message = f"OpenVINO cannot run the model on {device} ({_short(error)})"
        raise Unavailable(message, _remedy(core, model, device, error)) from error


def _remedy(core: ov.Core, model: ov.Model, device: str, error: RuntimeError) -> str:
    """Return what to do about a network that the device does not take."""
    if memory.is_short(error):
        return memory.REMEDY
    if device == "CPU" and any(node.get_type_name() == "FakeQuantize" for node in model.get_ops()):
        return "it computes in int8, which not every processor can: convert it again with --precision f16"
    return f"devices here: {', '.join(core.available_devices) or 'none'}; set engine.device"


def _tidy(cache: Path) -> None:
    """Delete the least recently used compiled networks until the rest fit; never the newest."""
    used_mb = 0.0
    with contextlib.suppress(OSError):  # another process tidies as well
        blobs = [(path, path.stat()) for path in cache.glob("*.blob")]
        blobs.sort(key=lambda blob: max(blob[1].st_atime, blob[1].st_mtime), reverse=True)
        for number, (path, status) in enumerate(blobs):
            used_mb += status.st_size / 1e6
            if number and used_mb > CACHE_MB:
                path.unlink(missing_ok=True)


def _short(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[-1] if lines else type(error).__name__)[:160]


def bare_network(bundle: Bundle, threads: int = 0) -> Callable[[npt.NDArray[np.float32]], Scores]:
    """Return the network as it is, in float32 on the CPU: its own input (its shape) → its own outputs (classes,).

    Raises `BundleError` or `Unavailable`.
    """
    core = _core()
    settings = EngineSettings(kind="openvino", threads=threads, precision="f32")
    request = _compile(core, _read(core, bundle), "CPU", settings, None).create_infer_request()
    shape = tuple(request.model_inputs[0].shape)

    def run(values: npt.NDArray[np.float32]) -> Scores:
        request.infer([np.ascontiguousarray(values, np.float32).reshape(shape)])
        return np.array(request.get_output_tensor(0).data.reshape(-1), np.float32)

    return run
