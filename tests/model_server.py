"""A model server's side of the Open Inference Protocol, byte for byte: over HTTP on bare sockets, or over gRPC.

What it says was recorded from Triton 2.51; what it does is up to the test.
"""

from __future__ import annotations

import contextlib
import json
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent import futures
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from socket_server import Caller, SocketServer

Array = np.ndarray[Any, Any]
TYPES = {"UINT8": np.uint8, "FP32": np.float32, "FP16": np.float16}


@dataclass
class Behaviour:
    """What the server has, and how it behaves; tests change it while it runs."""

    answer: Callable[[Array], Array]
    """From the tensor that came to (1, classes) float32."""
    inputs: list[dict[str, Any]]
    outputs: list[dict[str, Any]]
    name: str = "lab"
    token: str = ""
    refuse: tuple[str, str] | None = None
    """An HTTP status or a gRPC one, with the words, for every inference."""
    loaded: bool = True
    ready: bool = True
    """Whether the server as a whole is."""
    slow_s: float = 0.0
    over: threading.Event = field(default_factory=threading.Event)
    seen: list[Array] = field(default_factory=list)
    asked: list[float] = field(default_factory=list)
    """When metadata was asked for: each engine that connects does once."""

    @property
    def metadata(self) -> dict[str, Any]:
        return {"name": self.name, "versions": ["1"], "platform": "openvino", "inputs": self.inputs,
                "outputs": self.outputs}  # fmt: skip

    def infer(self, tensor: Array) -> Array:
        self.seen.append(tensor)
        if self.slow_s:
            self.over.wait(self.slow_s)
        return self.answer(tensor)


def http(behaviour: Behaviour, context: Any = None, port: int = 0) -> SocketServer:
    """Return the server over HTTP."""
    return SocketServer(lambda caller: _talk(behaviour, caller), context=context, port=port)


def _talk(server: Behaviour, caller: Caller) -> None:
    while head := caller.request():
        first, *lines = head.splitlines()
        fields = {key.lower(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
        body = caller.lines.read(int(fields.get("content-length", 0)))
        if not first.endswith(" HTTP/1.1") or not first.startswith(("GET ", "POST ")):  # another protocol
            _say(caller, "400 Bad Request", None)
            return
        path = first.split()[1]
        if server.token and fields.get("authorization") != f"Bearer {server.token}":
            _say(caller, "401 Unauthorized", {"error": "unauthorized"})
        elif path.endswith("/ready"):
            good = server.loaded if "models" in path else server.ready
            _say(caller, "200 OK" if good else "400 Bad Request", None)
        elif not server.loaded:
            _say(caller, "404 Not Found", {"error": f"Request for unknown model: '{server.name}' is not found"})
        elif path.endswith("/infer"):
            _infer(server, caller, int(fields["inference-header-content-length"]), body)
        elif path == f"/v2/models/{server.name}":
            server.asked.append(time.monotonic())
            _say(caller, "200 OK", server.metadata)
        else:
            _say(caller, "404 Not Found", {"error": "no such page"})


def _infer(server: Behaviour, caller: Caller, size: int, body: bytes) -> None:
    if server.refuse:
        _say(caller, server.refuse[0], {"error": server.refuse[1]})
        return
    (given,) = json.loads(body[:size])["inputs"]
    answer = server.infer(np.frombuffer(body[size:], TYPES[given["datatype"]]).reshape(given["shape"]))
    about = {"name": server.outputs[0]["name"], "datatype": "FP32", "shape": list(answer.shape),
             "parameters": {"binary_data_size": answer.nbytes}}  # fmt: skip
    header = json.dumps({"model_name": server.name, "model_version": "1", "outputs": [about]}).encode()
    whole = header + answer.astype(np.float32).tobytes()
    caller.http("application/octet-stream", whole, Content_Length=str(len(whole)),
                Inference_Header_Content_Length=str(len(header)))  # fmt: skip


def _say(caller: Caller, status: str, content: Any) -> None:
    body = b"" if content is None else json.dumps(content).encode()
    caller.http("application/json", body, status, Content_Length=str(len(body)))


Certificate = tuple[Path, Path]
"""A certificate and its key, both PEM."""


def authority(folder: Path) -> Certificate:
    """Make one that signs certificates, with openssl."""
    return _signed(folder, 30, "basicConstraints=critical,CA:TRUE", None)


def certificate(folder: Path, days: int, host: str, signer: Certificate | None = None) -> Certificate:
    """Make a certificate for `IP:ADDRESS` or `DNS:NAME` with openssl; negative days: it has expired.

    Without a signer it has signed itself.
    """
    return _signed(folder, days, f"subjectAltName={host}", signer)


def _signed(folder: Path, days: int, extension: str, signer: Certificate | None) -> Certificate:
    folder.mkdir(parents=True, exist_ok=True)
    cert, key, asked, names = (folder / name for name in ("cert.pem", "key.pem", "request", "names"))
    names.write_text(f"{extension}\n")
    by: list[object] = ["-CA", signer[0], "-CAkey", signer[1]] if signer else ["-signkey", key]
    request = ["req", "-new", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", asked, "-subj",
               f"/CN={folder.name}"]  # fmt: skip
    sign = ["x509", "-req", "-in", asked, *by, "-days", str(days), "-extfile", names, "-out", cert]
    for command in (request, sign):
        subprocess.run(["openssl", *map(str, command)], check=True, capture_output=True)
    return cert, key


@contextlib.contextmanager
def grpc(behaviour: Behaviour, certificate: Certificate | None = None, port: int = 0) -> Iterator[int]:
    """Run the server over gRPC; yield its port."""
    library = pytest.importorskip("grpc", reason="needs tritonclient[grpc]")
    from tritonclient.grpc import service_pb2 as messages
    from tritonclient.grpc import service_pb2_grpc as service

    class Servicer(service.GRPCInferenceServiceServicer):  # type: ignore[misc]
        def _admit(self, context: Any) -> None:
            given = dict(context.invocation_metadata()).get("authorization")
            if behaviour.token and given != f"Bearer {behaviour.token}":
                context.abort(library.StatusCode.UNAUTHENTICATED, "invalid token")

        def ModelMetadata(self, request: Any, context: Any) -> Any:  # noqa: N802
            self._admit(context)
            if not behaviour.loaded:
                context.abort(library.StatusCode.NOT_FOUND, f"Request for unknown model: '{request.name}' is not found")
            behaviour.asked.append(time.monotonic())
            return messages.ModelMetadataResponse(**behaviour.metadata)

        def ServerReady(self, request: Any, context: Any) -> Any:  # noqa: N802
            self._admit(context)
            return messages.ServerReadyResponse(ready=behaviour.ready)

        def ModelReady(self, request: Any, context: Any) -> Any:  # noqa: N802
            self._admit(context)
            return messages.ModelReadyResponse(ready=behaviour.loaded)

        def ModelInfer(self, request: Any, context: Any) -> Any:  # noqa: N802
            self._admit(context)
            if behaviour.refuse:
                context.abort(library.StatusCode[behaviour.refuse[0]], behaviour.refuse[1])
            given = request.inputs[0]
            tensor = np.frombuffer(request.raw_input_contents[0], TYPES[given.datatype]).reshape(given.shape)
            answer = behaviour.infer(tensor).astype(np.float32)
            reply = messages.ModelInferResponse(model_name=behaviour.name, raw_output_contents=[answer.tobytes()])
            reply.outputs.add(name=behaviour.outputs[0]["name"], datatype="FP32", shape=answer.shape)
            return reply

    server = library.server(futures.ThreadPoolExecutor(8), options=[("grpc.so_reuseport", 0)])
    service.add_GRPCInferenceServiceServicer_to_server(Servicer(), server)
    if certificate:
        cert, key = (path.read_bytes() for path in certificate)
        port = server.add_secure_port(f"127.0.0.1:{port}", library.ssl_server_credentials([(key, cert)]))
    else:
        port = server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    try:
        yield port
    finally:
        behaviour.over.set()
        server.stop(0).wait(2)


@contextlib.contextmanager
def plain(behaviour: Behaviour, scheme: str, port: int = 0) -> Iterator[str]:
    """Run the server; yield its URL."""
    if scheme == "http":
        with http(behaviour, port=port) as running:
            yield f"http://127.0.0.1:{running.port}"
    else:
        with grpc(behaviour, port=port) as at:
            yield f"grpc://127.0.0.1:{at}"


@contextlib.contextmanager
def encrypted(behaviour: Behaviour, scheme: str, certificate: Certificate, port: int = 0) -> Iterator[str]:
    if scheme == "https":
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate)
        with http(behaviour, context, port) as running:
            yield f"https://127.0.0.1:{running.port}"
    else:
        with grpc(behaviour, certificate, port) as at:
            yield f"grpcs://127.0.0.1:{at}"


def certificates(folder: Path) -> dict[str, Certificate]:
    """Make an authority's good one, one that has expired, one for another host; the authority; and nobody's."""
    ours = authority(folder / "authority")
    here, elsewhere = "IP:127.0.0.1", "DNS:elsewhere.example"
    return {
        "good": certificate(folder / "good", 2, here, ours),
        "expired": certificate(folder / "expired", -1, here, ours),
        "elsewhere": certificate(folder / "elsewhere", 2, elsewhere, ours),
        "authority": ours,
        "stranger": certificate(folder / "stranger", 2, here),
    }
