"""Draws what the webcam shows: pen on paper with its light, blur, noise and JPEG, for training, tests and the demo."""

from picam_infer.training.render.camera import jpeg, through_jpeg, tinted
from picam_infer.training.render.demo_scene import draw_scene, paper_background
from picam_infer.training.render.frames import render_digit, render_none
from picam_infer.training.render.params import (
    CALM,
    EVAL,
    TRAIN,
    TRAINING,
    Mix,
    RenderParams,
    View,
    none_kind,
    one_of,
)

__all__ = [
    "CALM",
    "EVAL",
    "TRAIN",
    "TRAINING",
    "Mix",
    "RenderParams",
    "View",
    "draw_scene",
    "jpeg",
    "none_kind",
    "one_of",
    "paper_background",
    "render_digit",
    "render_none",
    "through_jpeg",
    "tinted",
]
