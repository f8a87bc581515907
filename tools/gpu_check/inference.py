"""The generator's code/inference.py: answers as its pipeline, and says where that runs.

It runs in a worker of the model server, where PyTorch is.
"""

from __future__ import annotations

import importlib
import os
from typing import Any


def predict_fn(data: dict[str, Any], model: Any) -> dict[str, Any]:
    """The pipeline's answer or, asked to compile, what torch.compile made; with the device."""
    torch = importlib.import_module("torch")
    weights = next(model.model.parameters())
    answer = {"device": str(weights.device), "pid": os.getpid(), "bytes": 0}
    if data["inputs"] == "compile":
        return {**answer, **compiled(torch, weights.device)}
    text = model(data["inputs"], max_new_tokens=5, do_sample=False)
    if weights.is_cuda:
        answer["bytes"] = torch.cuda.memory_allocated(weights.device)
    return {**answer, "text": text}


def compiled(torch: Any, device: Any) -> dict[str, Any]:
    """How far a compiled function's numbers are from the same function's without compiling."""

    def function(x: Any, y: Any) -> Any:
        return (torch.sin(x) * y + torch.nn.functional.gelu(x)).sum(dim=-1)

    torch.manual_seed(0)
    x, y = (torch.randn(257, 1000, device=device) for _ in range(2))
    inductor = importlib.import_module("torch._inductor.utils")
    made, sources = inductor.run_and_get_code(torch.compile(function, fullgraph=True), x, y)
    return {
        "difference": (made - function(x, y)).abs().max().item(),
        "finite": bool(torch.isfinite(made).all().item()),
        "made_by": "Triton" if "triton" in "".join(sources) else "C++" if sources else "nothing",
    }
