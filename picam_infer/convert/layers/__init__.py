"""The layers: one small function for each kind, found by its Keras class name."""

from __future__ import annotations

from importlib import import_module

from picam_infer.convert.layers.registry import Call, Kind, Layer, find, known

for _room in (
    "activation",
    "convolution",
    "merging",
    "normalisation",
    "operations",
    "pooling",
    "recurrent",
    "scaling",
    "shaping",
):
    import_module(f"{__name__}.{_room}")

__all__ = ["Call", "Kind", "Layer", "find", "known"]
