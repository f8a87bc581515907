"""Train one small model on several hosts at once, as the script of a training job.

Runs inside a training image, on Python 3.6 and later and on the CPU: PyTorch's
DistributedDataParallel over gloo, or TensorFlow's MultiWorkerMirroredStrategy. Every host has its
own data, and all must end with the same weights, which report.json tells.
"""

import importlib
import json
import os
from pathlib import Path
from typing import Any

STEPS = 5
HOSTS = json.loads(os.environ.get("SM_HOSTS", "[]"))
RANK = HOSTS.index(os.environ["SM_CURRENT_HOST"]) if HOSTS else 0


def train_pytorch() -> "dict[str, Any]":
    """With gloo, at the address that the toolkit names; under torchrun with its own variables."""
    torch = importlib.import_module("torch")
    distributed = importlib.import_module("torch.distributed")
    parallel = importlib.import_module("torch.nn.parallel")
    os.environ.setdefault("GLOO_SOCKET_IFNAME", os.environ["SM_NETWORK_INTERFACE_NAME"])
    rank = int(os.environ.setdefault("RANK", str(RANK)))
    size = int(os.environ.setdefault("WORLD_SIZE", str(len(HOSTS))))
    distributed.init_process_group("gloo")
    torch.manual_seed(rank)  # each host begins with other weights and has other data
    model = parallel.DistributedDataParallel(torch.nn.Linear(4, 1))
    inputs = torch.rand(8, 4) + rank
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for _ in range(STEPS):
        optimizer.zero_grad()
        ((model(inputs) - 1) ** 2).mean().backward()
        optimizer.step()
    ranks = torch.tensor([float(rank + 1)])
    distributed.all_reduce(ranks)
    report = {
        "rank": distributed.get_rank(),
        "size": size,
        "sum": ranks.item(),
        "address": os.environ["MASTER_ADDR"],
        "weights": [value.item() for value in model.module.weight[0]],
    }
    distributed.barrier()
    distributed.destroy_process_group()
    return report


def train_tensorflow() -> "dict[str, Any]":
    """With TF_CONFIG of the job's hosts."""
    cluster = {"worker": [host + ":2222" for host in HOSTS]}
    os.environ["TF_CONFIG"] = json.dumps(
        {"cluster": cluster, "task": {"type": "worker", "index": RANK}}
    )
    numpy = importlib.import_module("numpy")
    tensorflow = importlib.import_module("tensorflow")
    distribute = tensorflow.distribute
    strategy = distribute.MultiWorkerMirroredStrategy()  # first of all, or it finds no others
    tensorflow.random.set_seed(0)
    with strategy.scope():
        model = tensorflow.keras.Sequential([tensorflow.keras.layers.Dense(1, input_shape=(4,))])
        model.compile(optimizer=tensorflow.keras.optimizers.SGD(0.01), loss="mse")
    values = numpy.random.RandomState(RANK).rand(8, 4).astype("float32") + RANK
    rows = tensorflow.data.Dataset.from_tensor_slices((values, numpy.ones((8, 1), "float32")))
    options = tensorflow.data.Options()
    sharding = tensorflow.data.experimental.AutoShardPolicy.OFF  # each host has its own already
    options.experimental_distribute.auto_shard_policy = sharding
    model.fit(rows.batch(8).repeat().with_options(options), steps_per_epoch=STEPS, verbose=0)

    def rank_of_one() -> Any:
        context = distribute.get_replica_context()
        return context.all_reduce("SUM", tensorflow.constant(float(RANK + 1)))

    total = strategy.run(tensorflow.function(rank_of_one))
    resolver = distribute.cluster_resolver.TFConfigClusterResolver()
    return {
        "rank": resolver.task_id,
        "size": strategy.num_replicas_in_sync,
        "sum": float(total),
        "address": resolver.cluster_spec().task_address("worker", 0).partition(":")[0],
        "weights": [float(value) for value in model.get_weights()[0][:, 0]],
    }


def main() -> None:
    """Train with the image's framework, and write down what became of it."""
    found = importlib.import_module("importlib.util").find_spec("torch")
    report = (train_pytorch if found else train_tensorflow)()
    target = Path(os.environ["SM_OUTPUT_DATA_DIR"], "report.json")
    target.write_text(json.dumps(report), encoding="utf-8")
    print(f"trained on {report['size']} hosts", flush=True)  # noqa: T201
    if found:
        # PyTorch 2.13's DistributedDataParallel keeps the threads of a group that is destroyed, and
        # seldom they abort a process that tidies up at its end; what is asked here is done by now.
        os._exit(0)


if __name__ == "__main__":
    main()
