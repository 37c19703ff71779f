"""The posts' loops, and what a user would write with the same network: a camera's address, a window, a line a frame."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt

Network = Callable[[npt.NDArray[np.float32]], npt.NDArray[np.float32]]


def network(file: Path, one_thread: bool) -> Network:
    """Return the network of a file for the runtime that its name belongs to: .xml, .tflite or .onnx."""
    if file.suffix == ".xml":
        import openvino as ov

        options = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1} if one_thread else {}
        compiled = ov.Core().compile_model(str(file), "CPU", options)
        return lambda tensor: np.asarray(compiled(tensor)[0])
    if file.suffix == ".onnx":
        import onnxruntime

        settings = onnxruntime.SessionOptions()
        settings.intra_op_num_threads = 1 if one_thread else 0
        session = onnxruntime.InferenceSession(str(file), settings, providers=["CPUExecutionProvider"])
        name = session.get_inputs()[0].name
        return lambda tensor: np.asarray(session.run(None, {name: tensor})[0])
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(file), num_threads=1 if one_thread else None)
    interpreter.allocate_tensors()
    given, got = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]["index"]

    def run(tensor: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        interpreter.set_tensor(given, tensor)
        interpreter.invoke()
        return np.asarray(interpreter.get_tensor(got))

    return run


def prepared(image: npt.NDArray[np.uint8], kind: str, size: int) -> npt.NDArray[np.float32]:
    """Return a frame as a loop's author prepares it: the digit post, the photo post, or a centre square."""
    import cv2

    if kind == "digits":
        lines = cv2.Canny(image, 90, 30)
        side = int(image.shape[0] * 0.4)
        y, x = (image.shape[0] - side) // 2, (image.shape[1] - side) // 2
        input_image = cv2.resize(cv2.dilate(lines[y : y + side, x : x + side], np.ones((3, 3), np.uint8)), (28, 28))
        return (input_image.astype(np.float32) / 255).reshape(1, 28, 28, 1)
    if kind == "square":
        side = min(image.shape[:2])
        y, x = (image.shape[0] - side) // 2, (image.shape[1] - side) // 2
        image = cv2.cvtColor(image[y : y + side, x : x + side], cv2.COLOR_BGR2RGB)
    return (cv2.resize(image, (size, size)).astype(np.float32) / 127.0 - 1)[None]


def main() -> None:
    """Show and classify until ended."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", choices=["digits", "photo", "square"])
    parser.add_argument("network", type=Path)
    parser.add_argument("address")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--window", action="store_true")
    parser.add_argument("--one-thread", action="store_true")
    args = parser.parse_args()
    if args.one_thread:  # before OpenCV is loaded: FFmpeg's own threads, too
        os.environ["OPENCV_FFMPEG_CAPTURE_OPTIONS"] = "threads;1"
    import cv2

    if args.one_thread:
        cv2.setNumThreads(1)
    infer = network(args.network, args.one_thread)
    camera = cv2.VideoCapture(args.address)
    while True:
        ok, image = camera.read()
        if not ok:
            raise SystemExit("no more pictures")
        best = int(np.argmax(infer(prepared(image, args.kind, args.size))))
        if args.window:
            cv2.putText(image, str(best), (20, 60), cv2.FONT_HERSHEY_SIMPLEX, 2, (0, 255, 0), 3)
            cv2.imshow("loop", image)
            cv2.waitKey(1)
        print(best, flush=True)


if __name__ == "__main__":
    main()
