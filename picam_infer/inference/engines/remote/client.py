"""The only module that knows `tritonclient`: a connection over HTTP or gRPC, with its errors turned into ours."""

from __future__ import annotations

import contextlib
import importlib
import os
import ssl
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from picam_infer.core import PicamError, Unavailable
from picam_infer.inference.engines.remote import errors
from picam_infer.inference.engines.remote.address import Address, Wanted
from picam_infer.platform import secret_file
from picam_infer.platform.paths import interpreter

Tensor = npt.NDArray[Any]
INSTALL = f"install it: {interpreter()} -m pip install 'tritonclient[http,grpc]'"


class Client(Protocol):
    """One connection. One thread uses it. Everything raises `RemoteError`."""

    def server_ready(self) -> bool:
        """Whether the server as a whole is."""

    def model_ready(self) -> bool:
        """Whether the model is."""

    def metadata(self) -> Mapping[str, Any]:
        """Return the model's metadata as the protocol's JSON: inputs and outputs, each name, datatype and shape."""

    def infer(self, name: str, datatype: str, tensor: Tensor, output: str) -> Tensor:
        """Send one tensor and return one."""

    def statistics(self) -> Mapping[str, Any]:
        """Return the server's own statistics of the model, an extension of the protocol that not all have."""

    def close(self) -> None:
        """Close the connection."""


def connect(wanted: Wanted) -> Client:
    """Return a connection of the kind that the address asks for. Raises `Unavailable` or `RemoteError`."""
    return _Grpc(wanted) if wanted.address.grpc else _Http(wanted)


def load(address: Address) -> Any:
    """Import the client library's half for that kind of address. Raises `Unavailable`."""
    name = "grpc" if address.grpc else "http"
    # Its own lines about every failed handshake would fill the journal; we report the failure once.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    try:
        return importlib.import_module(f"tritonclient.{name}")
    except (ImportError, RuntimeError) as error:  # it raises RuntimeError for what it needs itself
        raise Unavailable(
            f"engine.kind: remote needs tritonclient for {name}, which is not installed here", INSTALL
        ) from error


def read_token(place: str) -> str:
    """Return the token in a file; empty for none. Raises `Unavailable` when it cannot be sent."""
    if not place:
        return ""
    try:
        token = secret_file.text(place).strip()
    except secret_file.SecretError as error:
        raise errors.RemoteError("token", f"engine.token_file: {error.message}", error.hint) from None
    if not token or not all("!" <= c <= "~" for c in token):
        raise errors.RemoteError("token", f"engine.token_file: {place} holds no token", "one word, in one line")
    return token


class _Http:
    """Over HTTP: the library does its networking in greenlets of the calling thread."""

    def __init__(self, wanted: Wanted) -> None:
        library = load(wanted.address)
        import gevent

        # Names are looked up in the calling thread; by default each such thread would start ten more for that.
        gevent.config.resolver = "block"
        self._gevent, self._library, self._wanted = gevent, library, wanted
        self._headers = {"Authorization": f"Bearer {wanted.token}"} if wanted.token else {}
        options: dict[str, Any] = {}
        if wanted.address.encrypted:
            context = _context(wanted.ca_file)  # here: a client whose constructor failed complains when it is deleted
            options = {"ssl": True, "ssl_context_factory": lambda *_, **__: context}
        limit_s = wanted.deadline_s
        self._client = library.InferenceServerClient(
            wanted.address.place, connection_timeout=limit_s, network_timeout=limit_s, **options
        )

    @contextlib.contextmanager
    def _asking(self) -> Iterator[None]:
        """Apply the deadline to the whole call (the library applies it to each read), and turn errors into ours."""
        from geventhttpclient.response import HTTPConnectionClosed
        from tritonclient.utils import InferenceServerException

        wanted = self._wanted
        limit = self._gevent.Timeout(wanted.deadline_s)
        limit.start()
        try:
            yield
        except self._gevent.Timeout as timeout:
            if timeout is not limit:
                raise
            raise errors.too_slow(wanted) from None
        except InferenceServerException as error:
            raise errors.of_status(error.status() or "no status", _said(error), wanted) from error
        except TimeoutError as error:
            raise errors.too_slow(wanted) from error
        except OSError as error:
            raise errors.of_os(error, wanted) from error
        except HTTPConnectionClosed as error:  # in the middle of an answer, or before it
            raise errors.of_os(ConnectionResetError(), wanted) from error
        except PicamError:
            raise
        except Exception as error:  # its parser's errors have no common ancestor
            raise errors.not_the_protocol(wanted, type(error).__name__) from error
        finally:
            limit.close()

    def _ready(self, path: str, missing: errors.RemoteError) -> bool:
        """Ask for readiness; `missing`: what a 404 means here."""
        with self._asking():
            answer = self._client._get(path, self._headers, None)  # its own calls hide the status
            status, body = str(answer.status_code), bytes(answer.read())
        if status == "404":
            raise missing
        if status.startswith("3") or status in ("401", "403", "429", "502", "504"):
            raise errors.of_status(status, "", self._wanted)
        # KServe answers 200 with {"ready": false}, others 400 or 503.
        return status == "200" and b"false" not in body.lower()

    def server_ready(self) -> bool:
        return self._ready("v2/health/ready", errors.not_the_protocol(self._wanted, "it has no v2/health/ready"))

    def model_ready(self) -> bool:
        version = f"/versions/{self._wanted.version}" if self._wanted.version else ""
        return self._ready(f"v2/models/{self._wanted.model}{version}/ready", errors.no_model(self._wanted))

    def metadata(self) -> Mapping[str, Any]:
        with self._asking():
            answer = self._client.get_model_metadata(self._wanted.model, self._wanted.version, headers=self._headers)
        return answer if isinstance(answer, dict) else {}

    def infer(self, name: str, datatype: str, tensor: Tensor, output: str) -> Tensor:
        given = self._library.InferInput(name, list(tensor.shape), datatype)
        given.set_data_from_numpy(tensor, binary_data=True)
        asked = self._library.InferRequestedOutput(output, binary_data=True)
        with self._asking():
            answer = self._client.infer(
                self._wanted.model, [given], self._wanted.version, [asked], headers=self._headers
            )
            return _answer(answer, output)

    def statistics(self) -> Mapping[str, Any]:
        with self._asking():
            answer = self._client.get_inference_statistics(
                self._wanted.model, self._wanted.version, headers=self._headers
            )
        return answer if isinstance(answer, dict) else {}

    def close(self) -> None:
        with contextlib.suppress(Exception):
            self._client.close()
        self._gevent.get_hub().destroy()  # the thread's own, with its file descriptors


class _Grpc:
    """Over gRPC, whose deadline is for the whole call."""

    def __init__(self, wanted: Wanted) -> None:
        self._library, self._wanted = load(wanted.address), wanted
        self._headers = {"authorization": f"Bearer {wanted.token}"} if wanted.token else {}
        # Not shared: otherwise other clients too would wait up to two minutes for a connection that failed.
        # And no proxy from the environment: HTTP uses none either, and `check` tests the direct connection.
        options: list[tuple[str, Any]] = [
            ("grpc.use_local_subchannel_pool", 1),
            ("grpc.enable_retries", 0),
            ("grpc.enable_http_proxy", 0),
        ]
        more: dict[str, Any] = {}
        if wanted.address.encrypted:
            import grpc

            # Its own list of authorities is used only where the system has none.
            place = wanted.ca_file or ssl.get_default_verify_paths().cafile
            more["creds"] = grpc.ssl_channel_credentials(_authorities(place) if place else None)
        self._client = self._library.InferenceServerClient(wanted.address.place, channel_args=options, **more)

    @contextlib.contextmanager
    def _asking(self) -> Iterator[None]:
        from tritonclient.utils import InferenceServerException

        wanted = self._wanted
        try:
            yield
        except InferenceServerException as error:
            status = str(error.status() or "no status").removeprefix("StatusCode.")
            if status == "DEADLINE_EXCEEDED":
                raise errors.too_slow(wanted) from error
            raise errors.of_status(status, _said(error), wanted) from error

    def server_ready(self) -> bool:
        with self._asking():
            return bool(self._client.is_server_ready(self._headers, self._wanted.deadline_s))

    def model_ready(self) -> bool:
        with self._asking():
            return bool(
                self._client.is_model_ready(
                    self._wanted.model, self._wanted.version, self._headers, self._wanted.deadline_s
                )
            )

    def metadata(self) -> Mapping[str, Any]:
        wanted = self._wanted
        with self._asking():
            answer = self._client.get_model_metadata(
                wanted.model, wanted.version, self._headers, client_timeout=wanted.deadline_s
            )
        tensors = {kind: [{"name": one.name, "datatype": one.datatype, "shape": [int(side) for side in one.shape]}
                          for one in getattr(answer, kind)] for kind in ("inputs", "outputs")}  # fmt: skip
        return {"name": answer.name, "versions": list(answer.versions), "platform": answer.platform, **tensors}

    def infer(self, name: str, datatype: str, tensor: Tensor, output: str) -> Tensor:
        given = self._library.InferInput(name, list(tensor.shape), datatype)
        given.set_data_from_numpy(tensor)
        wanted = self._wanted
        with self._asking():
            answer = self._client.infer(wanted.model, [given], wanted.version,
                                        [self._library.InferRequestedOutput(output)], headers=self._headers,
                                        client_timeout=wanted.deadline_s)  # fmt: skip
            return _answer(answer, output)

    def statistics(self) -> Mapping[str, Any]:
        wanted = self._wanted
        with self._asking():
            answer = self._client.get_inference_statistics(
                wanted.model, wanted.version, self._headers, as_json=True, client_timeout=wanted.deadline_s
            )
        return answer if isinstance(answer, dict) else {}

    def close(self) -> None:
        with contextlib.suppress(Exception):
            self._client.close()


def _answer(answer: Any, output: str) -> Tensor:
    values = answer.as_numpy(output)
    if values is None:
        raise errors.RemoteError("protocol", f"the server's answer has no {output}", "was another model loaded there?")
    return np.asarray(values)


def _context(ca_file: str) -> Any:
    """Return the TLS settings of a connection in greenlets. Raises `RemoteError`."""
    from gevent import ssl as green

    context = green.create_default_context()
    if ca_file:
        context = green.create_default_context(cadata=_authorities(ca_file).decode("ascii", "ignore"))
    return context


def _authorities(place: str) -> bytes:
    """Return certificates in PEM. Raises `RemoteError`."""
    try:
        content = Path(place).expanduser().read_bytes()
        ssl.create_default_context(cadata=content.decode("ascii", "ignore"))
    except (OSError, RuntimeError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and not isinstance(error, ssl.SSLError) else ""
        raise errors.RemoteError(
            "certificate", f"{place}: {reason or 'it holds no certificate in PEM'}", "check engine.ca_file"
        ) from error
    return content


def authorities(ca_file: str) -> ssl.SSLContext:
    """Return who is trusted: a file's certificates, or the system's authorities. Raises `RemoteError`."""
    if not ca_file:
        return ssl.create_default_context()
    return ssl.create_default_context(cadata=_authorities(ca_file).decode("ascii", "ignore"))


def _said(error: Any) -> str:
    # Of an answer that does not follow the protocol the library only tells where its parser failed.
    return (
        "" if error.debug_details() and "decoding the response" in str(error.message()) else str(error.message() or "")
    )


Connect = Callable[[Wanted], Client]
