"""Bundles as a model repository: what Triton, OpenVINO Model Server and KServe load, the same bytes every time."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from picam_infer.convert import ir
from picam_infer.core import PicamError
from picam_infer.inference.engines import openvino as local
from picam_infer.inference.engines.failover import probe_image
from picam_infer.models.bundle import Bundle

Server = Literal["triton", "ovms", "kserve"]
SERVERS: tuple[Server, ...] = ("triton", "ovms", "kserve")
INPUT, OUTPUT = "pixels", "scores"
MAX_BATCH = 32
_QUEUE_US = 2000
"""How long Triton waits for more pictures to fill a batch: little compared with the transfer time."""
_SAME = 1e-3
"""Answers in a batch may differ this much from those for single pictures, as sums are computed in another order."""
_FOLDER = re.compile(r"\w[\w.-]*")
_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")


@dataclass(frozen=True)
class Served:
    """A bundle in the form that servers take."""

    name: str
    files: dict[str, bytes]
    """`model.xml` and `model.bin`."""
    shape: tuple[int, int, int]
    """Height, width and channels of the uint8 pixels that it takes."""
    labels: tuple[str, ...]
    batches: bool
    """Whether it takes several pictures at once."""


def served(bundle: Bundle) -> Served:
    """Return a bundle's network with normalisation inside: uint8 (N, H, W, C) to probabilities (N, classes).

    Raises `PicamError`. A network that has its batch of one built in keeps it.
    """
    size = bundle.card.input
    files = ir.serialise(local.network_of_pixels(bundle, batch=-1), half=False)
    batches = _takes_batches(files, bundle)
    if not batches:
        files = ir.serialise(local.network_of_pixels(bundle, batch=1), half=False)
    return Served(bundle.name, files, (size.height, size.width, size.channels), bundle.labels, batches)


def _takes_batches(files: dict[str, bytes], bundle: Bundle) -> bool:
    """Whether two pictures in one batch get the answers that each gets alone."""
    one = probe_image(bundle)
    other = np.ascontiguousarray(255 - one)
    try:
        run = ir.compiled(ir.load(files))
        both = np.asarray(run([np.stack([one, other])])[0])
        alone = [np.asarray(run([picture[None]])[0]) for picture in (one, other)]
    except (RuntimeError, PicamError):
        return False
    return both.shape == (2, len(bundle.labels)) and float(np.abs(both - np.concatenate(alone)).max()) < _SAME


def repository(models: Sequence[Served], server: Server) -> dict[str, bytes]:
    """Return a repository's files by path. Raises `PicamError`."""
    names = [model.name for model in models]
    doubled = sorted(name for name in set(names) if names.count(name) > 1)
    if doubled:
        raise PicamError(f"two models are called {doubled[0]}", "export them into repositories of their own")
    for name in names:
        if not _FOLDER.fullmatch(name):
            raise PicamError(
                f"model {name!r} cannot be a folder of a repository",
                "give it another name: letters, digits, dots, hyphens and underscores",
            )
    files: dict[str, bytes] = {}
    for model in models:
        for name, content in model.files.items():
            files[f"{model.name}/1/{name}"] = content
        files[f"{model.name}/labels.txt"] = "".join(f"{label}\n" for label in model.labels).encode()
        if server != "ovms":
            files[f"{model.name}/config.pbtxt"] = triton_config(model).encode()
    if server == "ovms":
        files["config.json"] = ovms_config(models).encode()
    if server == "kserve":
        files["inferenceservice.yaml"] = kserve_manifest(models[0].name if len(models) == 1 else "picam-infer").encode()
    return files


def triton_config(model: Served) -> str:
    """Return `config.pbtxt`: the OpenVINO backend, dynamic batching where the network can, labels."""
    side = ", ".join(map(str, model.shape if model.batches else (1, *model.shape)))
    answer = str(len(model.labels)) if model.batches else f"1, {len(model.labels)}"
    lines = [
        f"name: {_quoted(model.name)}",
        'backend: "openvino"',
        'default_model_filename: "model.xml"',
        f"max_batch_size: {MAX_BATCH if model.batches else 0}",
        f'input [ {{ name: "{INPUT}" data_type: TYPE_UINT8 dims: [ {side} ] }} ]',
        f'output [ {{ name: "{OUTPUT}" data_type: TYPE_FP32 dims: [ {answer} ] label_filename: "labels.txt" }} ]',
        *([f"dynamic_batching {{ max_queue_delay_microseconds: {_QUEUE_US} }}"] if model.batches else []),
        "instance_group [ { kind: KIND_CPU count: 1 } ]",
    ]
    return "\n".join(lines) + "\n"


def ovms_config(models: Sequence[Served]) -> str:
    """Return `config.json`: models in the classic layout, below the folder that the container sees as /models."""
    listed = [{"config": {"name": model.name, "base_path": f"/models/{model.name}"}} for model in models]
    return json.dumps({"model_config_list": listed}, indent=2, ensure_ascii=False) + "\n"


def kserve_manifest(name: str) -> str:
    """Return an `InferenceService` that serves the repository with Triton and scales on requests under way."""
    import yaml

    word = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:63].strip("-") or "picam-infer"
    if not _NAME.fullmatch(word):
        word = "picam-infer"
    health = {"path": "/v2/health/ready", "port": 8080}
    manifest: dict[str, Any] = {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {"name": word},
        "spec": {
            "predictor": {
                "minReplicas": 1,
                "maxReplicas": 4,
                "scaleMetric": "concurrency",
                "scaleTarget": 16,
                "model": {
                    "modelFormat": {"name": "triton"},
                    "protocolVersion": "v2",
                    "storageUri": "pvc://models/repository",
                    "resources": {
                        "requests": {"cpu": "1", "memory": "1Gi"},
                        "limits": {"cpu": "2", "memory": "2Gi"},
                    },
                    "readinessProbe": {"httpGet": health, "periodSeconds": 5, "timeoutSeconds": 2},
                    "livenessProbe": {
                        "httpGet": {**health, "path": "/v2/health/live"},
                        "periodSeconds": 10,
                        "timeoutSeconds": 5,
                        "failureThreshold": 3,
                    },
                },
            }
        },
    }
    note = (
        "# The repository beside this file goes where storageUri says (a volume claim; s3:// and gs:// serve too).\n"
        "# scaleTarget: requests under way at once in each replica before another one is started.\n"
    )
    return note + yaml.safe_dump(manifest, sort_keys=False)


def _quoted(text: str) -> str:
    """Return a string as protobuf's text format writes it."""
    return '"' + "".join(c if c.isprintable() and c not in '"\\' else f"\\{ord(c):03o}" for c in text) + '"'
