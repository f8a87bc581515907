"""Compile a function by torch.compile: `python - < compile_report.py` prints one JSON object.

Runs inside an image of PyTorch 2 or later, with its own Python; needs no network and no GPU.

    difference   the greatest between what the compiled function says and what the plain one does
    graphs       how many graphs were compiled
"""

import importlib
import json
import sys
from typing import Any

# Nothing of it is here, where this file is only read.
torch: Any = None


def wave(points: Any) -> Any:
    """Something that is fused into one loop."""
    return torch.relu(torch.sin(points) * 2 + torch.cos(points) ** 2)


if __name__ == "__main__":
    torch = importlib.import_module("torch")
    points = torch.linspace(-3, 3, 257)
    difference = float((torch.compile(wave)(points) - wave(points)).abs().max())
    counters = importlib.import_module("torch._dynamo.utils").counters
    graphs = counters["stats"]["unique_graphs"]
    json.dump({"difference": difference, "graphs": graphs}, sys.stdout)
