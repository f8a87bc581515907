"""A model without weights: the code/inference.py of tests that ask what reaches a model.

It overrides predict_fn alone, so the toolkit itself reads what came in and writes what goes out.
Runs inside an image, Python 3.6 or later.
"""

import importlib
import os
import time
from typing import Any


def model_fn(model_dir: str) -> str:
    """There is nothing to load."""
    return os.path.basename(model_dir)  # noqa: PTH119 the toolkit gives a text


def predict_fn(data: Any, model: str) -> Any:
    """What arrived; or, where that is JSON, what its `inputs` ask for."""
    inputs = data["inputs"] if isinstance(data, dict) else data
    if isinstance(inputs, dict):
        return act(model=model, **inputs)
    if isinstance(inputs, bytes):
        return {"type": "bytes", "length": len(inputs), "sum": sum(inputs)}
    if hasattr(inputs, "shape"):
        return {"type": "array", "shape": list(inputs.shape), "sum": float(inputs.sum())}
    if hasattr(inputs, "getpixel"):
        pixel = list(inputs.getpixel((0, 0)))
        return {"type": "image", "size": list(inputs.size), "mode": inputs.mode, "pixel": pixel}
    return {"type": type(inputs).__name__, "value": inputs}


def act(model: str, give: str = "", size: int = 0, sleep: float = 0, fail: str = "") -> Any:
    """Wait, fail or answer as asked; `sleep` in seconds."""
    time.sleep(sleep)
    if fail == "exit":
        os._exit(3)
    if fail == "memory":
        raise MemoryError("no memory left")
    if give == "array":
        return importlib.import_module("numpy").arange(6.0).reshape(2, 3)
    if give == "image":
        return importlib.import_module("PIL.Image").new("RGB", (3, 2), (10, 20, 30))
    if give == "numbers":
        numpy = importlib.import_module("numpy")
        image = importlib.import_module("PIL.Image").new("CMYK", (1, 1))
        return {
            "double": [float("nan"), float("inf"), 1.5],
            "single": numpy.float32("nan"),
            "half": numpy.array([0.5, numpy.inf], dtype="float16"),
            "whole": numpy.int64(3),
            "flag": numpy.bool_(True),
            "bytes": b"\x00\xff",
            "image": image,
            numpy.int64(7): "\u00e4",
        }
    if give == "nothing":
        return {"answer": object()}
    if give == "rows":
        return [{"name": "a", "score": 1.5}, {"name": 'b, "c"', "score": 2.5}]
    return {"worker": os.getpid(), "model": model, "text": "x" * size}
