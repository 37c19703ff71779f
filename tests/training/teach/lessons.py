"""What the tests of teaching make: small backbones and folders of coloured pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import openvino as ov
from openvino import opset13 as ops

from picam_infer.models.bundle import Bundle, Card, Input, Origin, Photo, save

COLOURS = {"red": (0, 0, 200), "green": (0, 200, 0), "blue": (200, 0, 0), "white": (230, 230, 230)}
WIDTH = 48


def dense(x: Any, outputs: int, rng: np.random.Generator, name: str) -> Any:
    inputs = x.output(0).get_shape()[-1]
    weights = rng.normal(size=(outputs, inputs)).astype(np.float32) / np.float32(np.sqrt(inputs))
    product = ops.matmul(x, ops.constant(weights), False, True)
    result = ops.add(product, ops.constant(rng.normal(size=(1, outputs)).astype(np.float32) / np.float32(10)))
    result.set_friendly_name(name)
    return result


def conv(x: Any, outputs: int, size: int, rng: np.random.Generator, pad: int = 0) -> Any:
    shape = (outputs, x.get_output_shape(0)[1], size, size)
    kernel = rng.normal(size=shape).astype(np.float32) / np.float32(np.sqrt(np.prod(shape[1:])))
    return ops.convolution(x, ops.constant(kernel), [1, 1], [pad, pad], [pad, pad], [1, 1])


def start(side: int = 16) -> tuple[Any, Any]:
    """Return the input (1, side, side, 3) and it as a map (1, 3, side, side)."""
    source = ops.parameter([1, side, side, 3], np.float32, name="input")
    return source, ops.transpose(source, np.array([0, 3, 1, 2]))


def pooled(x: Any) -> Any:
    return ops.reduce_mean(x, np.array([2, 3]), keep_dims=False)


def named(x: Any, name: str) -> Any:
    x.set_friendly_name(name)
    return x


def model(source: Any, output: Any) -> Any:
    return ov.Model([ops.result(output)], [source], "made")


def photo_network(classes: int = 5, seed: int = 3) -> Any:
    """Conv, ReLU, mean (48 numbers, called `described`), Dense(40, relu), Dense(classes), softmax."""
    rng = np.random.default_rng(seed)
    source, x = start()
    x = named(pooled(ops.relu(conv(ops.relu(conv(x, 8, 3, rng)), WIDTH, 3, rng))), "described")
    x = ops.relu(dense(x, 40, rng, "hidden"))
    return model(source, ops.softmax(dense(x, classes, rng, "classes"), 1))


def backbone(folder: Path, network: Any = None, classes: int = 5, side: int = 16, channels: int = 3) -> Bundle:
    """Write a photo bundle with random weights."""
    build = folder.parent / f".{folder.name}-build"
    build.mkdir(parents=True, exist_ok=True)
    ov.save_model(network or photo_network(classes), build / "model.xml", compress_to_fp16=False)
    card = Card(
        name=folder.name,
        input=Input((1, side, side, channels)),
        preprocess=Photo(scale=1 / 255, offset=0.0),
        origin=Origin("made by the tests"),
        output="output",
    )
    return save(
        folder,
        card,
        [f"c{k}" for k in range(classes)],
        {n: (build / n).read_bytes() for n in ("model.xml", "model.bin")},
    )


def image(colour: tuple[int, int, int], seed: int) -> np.ndarray:
    """Return a noisy picture (24, 32, 3) of about one colour."""
    rng = np.random.default_rng(seed)
    noise = rng.normal(0, 12, (24, 32, 3)) + rng.normal(0, 10, 3)
    return np.clip(np.array(colour) + noise, 0, 255).astype(np.uint8)


def encoded(colour: str | tuple[int, int, int], seed: int, suffix: str = ".png") -> bytes:
    exact = COLOURS[colour] if isinstance(colour, str) else colour
    return bytes(cv2.imencode(suffix, image(exact, seed))[1])


def pictures(folder: Path, count: int = 6, colours: tuple[str, ...] = ("red", "green", "blue"), seed: int = 0) -> Path:
    """Write one folder a colour, with `count` pictures, PNG and JPEG by turns."""
    for number, colour in enumerate(colours):
        (folder / colour).mkdir(parents=True, exist_ok=True)
        for at in range(count):
            suffix = ".png" if at % 2 else ".jpg"
            data = encoded(colour, seed + 100 * number + at, suffix)
            (folder / colour / f"{colour}{seed + at}{suffix}").write_bytes(data)
    return folder
