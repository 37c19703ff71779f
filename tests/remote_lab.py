"""Real model servers on the loopback, started and ended as processes, and the wire to them, which can be cut."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from makers import free_port

from picam_infer.convert import serving
from picam_infer.models.bundle import Bundle, Card, Edges, Input, Photo, save

MODELS = Path(__file__).parent / "remote_servers"
EXAMPLES = Path(__file__).parents[1] / "docs/examples"


def _example(name: str) -> Any:
    spec = importlib.util.spec_from_file_location(name.replace("/", "_"), EXAMPLES / f"{name}.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


triton = _example("triton/serve")


def lab_bundle(folder: Path, classes: int = 10, side: int = 28, channels: int = 1) -> Bundle:
    """Make a model called lab: softmax(W x) of side × side pixels."""
    from openvino import opset13 as ops

    weights = np.random.default_rng(classes).normal(0, 1 / side, (classes, side * side * channels)).astype(np.float32)
    source = ops.parameter([1, side, side, channels], np.float32, name="input")
    flat = ops.reshape(source, ops.constant(np.array([1, -1], np.int64)), False)
    output = ops.softmax(ops.matmul(flat, ops.constant(weights), False, True), 1)
    return _saved(folder, source, output, classes)


def conv_bundle(folder: Path, side: int, channels: int, layers: int, classes: int = 10) -> Bundle:
    """Make a model called lab that takes longer the more layers it has: convolutions, then a mean over the picture."""
    from openvino import opset13 as ops

    random, width = np.random.default_rng(3), 16
    source = ops.parameter([1, side, side, channels], np.float32, name="input")
    x = ops.transpose(source, ops.constant(np.array([0, 3, 1, 2], np.int64)))
    for layer in range(layers):
        kernel = random.normal(0, 0.1, (width, channels if layer == 0 else width, 3, 3)).astype(np.float32)
        x = ops.relu(ops.convolution(x, ops.constant(kernel), [1, 1], [1, 1], [1, 1], [1, 1]))
    x = ops.reduce_mean(x, ops.constant(np.array([2, 3], np.int64)))
    weights = random.normal(0, 1, (width, classes)).astype(np.float32)
    return _saved(folder, source, ops.softmax(ops.matmul(x, ops.constant(weights), False, False), 1), classes)


def _saved(folder: Path, source: Any, output: Any, classes: int) -> Bundle:
    import openvino as ov
    from openvino import opset13 as ops

    _, side, _, channels = source.get_output_shape(0)
    work = folder.parent / f"{folder.name}.work"
    work.mkdir(parents=True)
    ov.save_model(ov.Model([ops.result(output)], [source], "lab"), work / "model.xml", compress_to_fp16=False)
    files = {name: (work / name).read_bytes() for name in ("model.xml", "model.bin")}
    labels = tuple(f"class {i}" for i in range(classes))
    return save(
        folder, Card("lab", Input((1, side, side, channels)), Photo() if channels == 3 else Edges()), labels, files
    )


class Server:
    """One server process with a repository of its own; `python` is that of its environment."""

    kind = ""
    binary_http = True
    """Whether it takes binary tensors over HTTP, too."""

    def __init__(self, python: Path, folder: Path, bundles: Sequence[Bundle], batching: bool = True) -> None:
        self.python, self.folder, self.batching = python, folder, batching
        self.http, self.grpc, self.metrics = free_port(), free_port(), free_port()
        self.process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True)
        for bundle in bundles:
            self.put(bundle)

    def put(self, bundle: Bundle) -> None:
        """Lay a model into the repository, in the place of one of that name."""
        target = self.folder / "repository" / bundle.name
        shutil.rmtree(target, ignore_errors=True)
        for name, content in serving.repository([serving.served(bundle)], "triton").items():
            path = self.folder / "repository" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        self.prepare(target, bundle)

    def prepare(self, target: Path, bundle: Bundle) -> None:
        """Add what this server wants besides."""

    def command(self) -> tuple[list[str], dict[str, str]]:
        """Return its command line and environment."""
        raise NotImplementedError

    def start(self, limit_s: float = 120.0) -> None:
        """Start it, unless it runs, and wait until it is ready."""
        if self.process and self.process.poll() is None:
            return
        command, environment = self.command()
        log = (self.folder / "log").open("ab")
        self.process = subprocess.Popen(
            command, env={**os.environ, **environment}, stdout=log, stderr=log, start_new_session=True, cwd=self.folder
        )
        end_s = time.monotonic() + limit_s
        while not self.ready():
            if self.process.poll() is not None or time.monotonic() > end_s:
                raise RuntimeError(f"{self.kind} does not start: {(self.folder / 'log').read_text()[-3000:]}")
            time.sleep(0.1)

    def ready(self) -> bool:
        with contextlib.suppress(OSError):
            return self._asked("health/ready") == 200 and self._asked("models/lab/ready") == 200
        return False

    def _asked(self, path: str, content: object = None) -> int:
        data = None if content is None else json.dumps(content).encode()
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.http}/v2/{path}", data, {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            return int(answer.status)

    def unload(self, name: str) -> None:
        self._asked(f"repository/models/{name}/unload", {})

    def load(self, name: str) -> None:
        self._asked(f"repository/models/{name}/load", {})

    def replace(self, bundle: Bundle) -> None:
        """Have it take another model under the same name."""
        self.unload(bundle.name)
        self.put(bundle)
        self.load(bundle.name)

    def slow(self, seconds: float) -> None:
        """Have it wait before each answer; 0: no longer."""
        path = self.folder / "repository/lab/slow"
        path.write_text(str(seconds)) if seconds else path.unlink(missing_ok=True)

    def send(self, number: signal.Signals) -> None:
        """Send a signal to it and its children."""
        assert self.process
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)

    def kill(self) -> None:
        if self.process:
            self.send(signal.SIGKILL)
            self.process.wait()
            self.process = None

    def pids(self) -> list[int]:
        """Return its processes."""
        assert self.process
        group = self.process.pid
        found = []
        for path in Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError, ValueError):
                fields = path.read_text().rpartition(")")[2].split()
                if int(fields[2]) == group:
                    found.append(int(path.parent.name))
        return found

    def cpu_s(self) -> float:
        """Return the processor time that it has used."""
        ticks = 0
        for pid in self.pids():
            with contextlib.suppress(OSError):
                fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")

    def memory_mb(self) -> float:
        pages = 0
        for pid in self.pids():
            with contextlib.suppress(OSError):
                pages += int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGESIZE") / 1e6


class Triton(Server):
    """The tritonserver that the package nvidia-pytriton contains, with its Python back-end."""

    kind = "Triton"

    def prepare(self, target: Path, bundle: Bundle) -> None:
        triton.adapt(target)
        if not self.batching:
            path = target / "config.pbtxt"
            lines = path.read_text().splitlines(True)
            path.write_text("".join(line for line in lines if not line.startswith("dynamic_batching")))

    def command(self) -> tuple[list[str], dict[str, str]]:
        packages = next((self.python.parent.parent / "lib").glob("python3*/site-packages"))
        version = packages.parent.name.removeprefix("python")
        options = [
            "--model-control-mode=explicit", "--load-model=*",
            *(f"--{kind}-address=127.0.0.1" for kind in ("http", "grpc", "metrics")),
            f"--http-port={self.http}", f"--grpc-port={self.grpc}", f"--metrics-port={self.metrics}",
        ]  # fmt: skip
        words, environment = triton.command(packages, version, self.folder / "repository", options)
        return words, {**environment, "PATH": f"{self.python.parent}:{os.environ['PATH']}"}


class MlServer(Server):
    """Seldon's MLServer."""

    kind = "MLServer"
    binary_http = False

    def prepare(self, target: Path, bundle: Bundle) -> None:
        size, count = bundle.card.input, len(bundle.labels)
        settings = {
            "name": bundle.name, "implementation": "mlserver_model.OpenVino", "parameters": {"uri": str(target)},
            "inputs": [{"name": "pixels", "datatype": "UINT8", "shape": [-1, size.height, size.width, size.channels]}],
            "outputs": [{"name": "scores", "datatype": "FP32", "shape": [-1, count]}],
        }  # fmt: skip
        if self.batching:
            settings |= {"max_batch_size": serving.MAX_BATCH, "max_batch_time": 0.002}
        (target / "model-settings.json").write_text(json.dumps(settings))

    def command(self) -> tuple[list[str], dict[str, str]]:
        settings = {"host": "127.0.0.1", "http_port": self.http, "grpc_port": self.grpc, "metrics_port": self.metrics,
                    "parallel_workers": 0, "debug": False}  # fmt: skip
        (self.folder / "repository/settings.json").write_text(json.dumps(settings))
        return ([str(self.python.parent / "mlserver"), "start", str(self.folder / "repository")],
                {"PYTHONPATH": str(EXAMPLES / "mlserver")})  # fmt: skip


class KServe(Server):
    """KServe's Python server."""

    kind = "KServe"

    def command(self) -> tuple[list[str], dict[str, str]]:
        ports = [f"--http_port={self.http}", f"--grpc_port={self.grpc}"]
        return ([str(self.python), str(MODELS / "kserve_models.py"), str(self.folder / "repository"), *ports],
                {"PYTHONPATH": ""})  # fmt: skip


KINDS: dict[str, type[Server]] = {"triton": Triton, "mlserver": MlServer, "kserve": KServe}


class Proxy:
    """A real nginx with TLS in front of a server: its certificate can be replaced, its token revoked."""

    def __init__(self, folder: Path, server: Server, certificate: tuple[Path, Path]) -> None:
        self.grpc, self.http = free_port(), free_port()
        self._folder, self._server = folder, server
        folder.mkdir()
        self._start(certificate)

    def _start(self, certificate: tuple[Path, Path]) -> None:
        # Looked at for each request: a token is revoked in the middle of a connection.
        rules = " ".join(f"if (-f {self._folder}/{status}) {{ return {status}; }}" for status in (401, 403))
        tls = f"ssl_certificate {certificate[0]}; ssl_certificate_key {certificate[1]};"
        parts = [
            f"server {{ listen 127.0.0.1:{port} {how}; {tls} location / {{ {rules} {what}; }} }}"
            for port, how, what in ((self.grpc, "ssl http2", f"grpc_pass grpc://127.0.0.1:{self._server.grpc}"),
                                    (self.http, "ssl", f"proxy_pass http://127.0.0.1:{self._server.http}"))
        ]  # fmt: skip
        path = self._folder / "nginx.conf"
        # Its workers have to see the files that revoke a token.
        user = "user root; " if os.geteuid() == 0 else ""
        path.write_text(f"{user}daemon off; pid {self._folder}/pid; error_log {self._folder}/log; events {{}}\n"
                        f"http {{ access_log off; {' '.join(parts)} }}\n")  # fmt: skip
        self._process = subprocess.Popen(["nginx", "-c", str(path)], stderr=subprocess.DEVNULL)

    def certify(self, certificate: tuple[Path, Path]) -> None:
        """Start it again with another certificate."""
        self.close()
        self._start(certificate)

    def revoke(self, status: int) -> None:
        """Refuse every request with 401 or 403 from now on."""
        (self._folder / str(status)).touch()

    def allow(self) -> None:
        """Refuse none."""
        for status in ("401", "403"):
            (self._folder / status).unlink(missing_ok=True)

    def close(self) -> None:
        self._process.terminate()
        self._process.wait()


class Wire:
    """A forwarder in front of a server; cut, it answers nothing and refuses nothing."""

    def __init__(self, port: int) -> None:
        self._to, self._whole = port, threading.Event()
        self._whole.set()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=200)
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        self._whole.clear()

    def mend(self) -> None:
        self._whole.set()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                self._whole.wait()
                try:
                    far = socket.create_connection(("127.0.0.1", self._to))
                except OSError:
                    near.close()
                    continue
                for source, sink in ((near, far), (far, near)):
                    threading.Thread(target=self._forward, args=(source, sink), daemon=True).start()

    def _forward(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                self._whole.wait()
                sink.sendall(data)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


if __name__ == "__main__":
    sys.exit("scripts/test-remote uses this")
