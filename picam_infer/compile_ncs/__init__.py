"""Getting a model onto a Movidius stick: Keras → a TensorFlow 1.x graph → NCSDK's compiler → `graph` in the bundle."""

from picam_infer.compile_ncs.command import add_arguments, main

__all__ = ["add_arguments", "main"]
