"""Add up ranks over MPI on several hosts at once, as the script of a training job.

Runs inside a training image with Open MPI and mpi4py, on Python 3.6 and later; with Horovod, the
ranks are added up by it, too. report.json tells what every host came to.
"""

import importlib
import json
import os
import socket
import time
from pathlib import Path
from typing import Any

# The toolkit looks once a second whether Open MPI runs on the other hosts; it would miss less.
SECONDS = 5


def horovod_sum() -> "float | None":
    """The same sum by Horovod, with the image's framework; None where it is not there."""
    find = importlib.import_module("importlib.util").find_spec
    if not find("horovod"):
        return None
    if find("torch"):
        torch, horovod = (importlib.import_module(name) for name in ("torch", "horovod.torch"))
        horovod.init()
        ranks = torch.tensor([float(horovod.rank() + 1)])
    else:
        tensorflow = importlib.import_module("tensorflow")
        horovod = importlib.import_module("horovod.tensorflow")
        horovod.init()
        ranks = tensorflow.constant([float(horovod.rank() + 1)])
    total: float = horovod.allreduce(ranks, op=horovod.Sum).numpy()[0].item()
    return total


def main() -> None:
    """Add up, and write down what became of it."""
    mpi: Any = importlib.import_module("mpi4py.MPI")
    world = mpi.COMM_WORLD
    report = {
        "rank": world.Get_rank(),
        "size": world.Get_size(),
        "sum": world.allreduce(world.Get_rank() + 1),
        "hosts": world.allgather(socket.gethostname()),
        "library": " ".join(mpi.Get_library_version().split()[:3]).rstrip(","),
        "horovod": horovod_sum(),
    }
    target = Path(os.environ["SM_OUTPUT_DATA_DIR"], "report.json")
    target.write_text(json.dumps(report), encoding="utf-8")
    time.sleep(SECONDS)
    print(f"rank {report['rank']} of {report['size']}", flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
