"""How to use an image: commands and programs with its address, for the account that one chooses."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from builder.matrix.platforms import DEFAULT
from builder.matrix.uris import registry_host
from builder.site.records import Image

__all__ = ["FILLS", "Snippet", "default_fills", "snippets"]

# What a reader chooses: these stand in the texts between marks that no text has.
URI, HOST, REGION = "\0uri\0", "\0host\0", "\0region\0"
FILLS: Mapping[str, str] = {"uri": URI, "host": HOST, "region": REGION}
# Before anything is chosen; the account is AWS's own for examples.
DEFAULT_REGION = "us-east-1"
EXAMPLE_ACCOUNT = "123456789012"

_INSTANCES = {
    ("inference", "cpu"): "ml.m5.xlarge",
    ("inference", "gpu"): "ml.g5.xlarge",
    ("inference", "linux/arm64"): "ml.c7g.xlarge",
    ("inference", "neuron"): "ml.inf1.xlarge",
    ("inference", "neuronx"): "ml.inf2.xlarge",
    ("training", "cpu"): "ml.m5.xlarge",
    ("training", "gpu"): "ml.g5.xlarge",
    ("training", "neuron"): "ml.m5.xlarge",
    ("training", "neuronx"): "ml.trn1.2xlarge",
}
_RUN = {
    "gpu": " --gpus all",
    "neuron": " --device=/dev/neuron0",
    "neuronx": " --device=/dev/neuron0",
}
_LIMITS = {
    "gpu": "      resources:\n        limits: {nvidia.com/gpu: 1}\n",
    "neuron": "      resources:\n        limits: {aws.amazon.com/neuron: 1}\n",
    "neuronx": "      resources:\n        limits: {aws.amazon.com/neuron: 1}\n",
}

_SERVE_2 = """\
from sagemaker.huggingface import HuggingFaceModel

model = HuggingFaceModel(
    image_uri="{uri}",
    model_data="s3://.../model.tar.gz",
    role=role,
    env={{"HF_TASK": "text-classification", "DLC_PING": "ready"}},
)
predictor = model.deploy(initial_instance_count=1, instance_type="{instance}")
predictor.predict({{"inputs": "I like you."}})
"""
_SERVE_3 = """\
from sagemaker.serve import ModelBuilder

builder = ModelBuilder(
    image_uri="{uri}",
    s3_model_data_url="s3://.../model.tar.gz",
    role_arn=role,
    env_vars={{"HF_TASK": "text-classification", "DLC_PING": "ready"}},
)
builder.build()
endpoint = builder.deploy(initial_instance_count=1, instance_type="{instance}")
"""
_TRAIN_2 = """\
from sagemaker.huggingface import HuggingFace

estimator = HuggingFace(
    image_uri="{uri}",
    entry_point="train.py",
    source_dir="source",
    hyperparameters={{"epochs": 3}},
    role=role,
    instance_count=1,
    instance_type="{instance}",
)
estimator.fit({{"train": "s3://.../train"}})
"""
_TRAIN_3 = """\
from sagemaker.core.training.configs import Compute, InputData, SourceCode
from sagemaker.train import ModelTrainer

trainer = ModelTrainer(
    training_image="{uri}",
    source_code=SourceCode(source_dir="source", entry_script="train.py"),
    compute=Compute(instance_type="{instance}", instance_count=1),
    hyperparameters={{"epochs": 3}},
    role=role,
)
trainer.train([InputData(channel_name="train", data_source="s3://.../train")])
"""
_SERVE_POD = """\
apiVersion: v1
kind: Pod
metadata: {{name: model}}
spec:
  automountServiceAccountToken: false
  securityContext:
    runAsNonRoot: true
    runAsUser: 1000
    fsGroup: 1000
    seccompProfile: {{type: RuntimeDefault}}
  containers:
    - name: server
      image: {uri}
      args: [serve]
      ports: [{{containerPort: 8080}}]
      env: [{{name: HF_TASK, value: text-classification}}]
{limits}\
      securityContext:
        allowPrivilegeEscalation: false
        readOnlyRootFilesystem: true
        capabilities: {{drop: [ALL]}}
      startupProbe:
        exec: {{command: [python, /usr/local/bin/dockerd-entrypoint.py, ready]}}
        periodSeconds: 5
        failureThreshold: 60
      livenessProbe:
        httpGet: {{path: /ping, port: 8080}}
      volumeMounts:
        - {{name: tmp, mountPath: /tmp}}
        - {{name: model, mountPath: /opt/ml/model, readOnly: true}}
  volumes:
    - {{name: tmp, emptyDir: {{}}}}
    - {{name: model, persistentVolumeClaim: {{claimName: model}}}}
"""
_TRAIN_JOB = """\
apiVersion: batch/v1
kind: Job
metadata: {{name: training}}
spec:
  backoffLimit: 0
  template:
    spec:
      restartPolicy: Never
      containers:
        - name: training
          image: {uri}
          command: [python, /code/train.py]
{limits}\
          volumeMounts: [{{name: code, mountPath: /code}}]
      volumes:
        - {{name: code, persistentVolumeClaim: {{claimName: code}}}}
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Snippet:
    """A text to copy; `parts` are pieces of it, each with what fills it, or nothing."""

    id: str
    title: str
    parts: Sequence[tuple[str, str]]


def snippets(image: Image) -> list[Snippet]:
    """All ways of use for an image's mode and device."""
    return [
        Snippet(id=name, title=title, parts=tuple(_parts(text)))
        for name, title, text in _texts(image)
    ]


def default_fills(image: Image) -> dict[str, str]:
    """What stands in the texts before anybody chooses: the official registry, or an example's."""
    account = None if image.origin == "official" else EXAMPLE_ACCOUNT
    host = registry_host(DEFAULT_REGION, account)
    return {"uri": f"{host}/{image.name}", "host": host, "region": DEFAULT_REGION}


def _texts(image: Image) -> Iterator[tuple[str, str, str]]:
    serves = image.mode == "inference"
    kind = image.device if image.platform == DEFAULT else image.platform
    instance = _INSTANCES.get((image.mode, kind))
    device, limits = _RUN.get(image.device, ""), _LIMITS.get(image.device, "")
    yield (
        "pull",
        "Pull",
        (
            f"aws ecr get-login-password --region {REGION} \\\n"
            f"  | docker login --username AWS --password-stdin {HOST}\n"
            f"docker pull {URI}\n"
        ),
    )
    if serves:
        run = (
            f"docker run --rm{device} --read-only --tmpfs /tmp -p 8080:8080 \\\n"
            f'  -v "$PWD/model:/opt/ml/model:ro" -e HF_TASK=text-classification \\\n  {URI}\n'
        )
    else:
        run = (
            f'docker run --rm{device} -v "$PWD:/work" -w /work \\\n  {URI} \\\n  python train.py\n'
        )
    yield "run", "docker run", run
    two, three = (_SERVE_2, _SERVE_3) if serves else (_TRAIN_2, _TRAIN_3)
    if instance:
        yield "sagemaker2", "SageMaker SDK 2", two.format(uri=URI, instance=instance)
        yield "sagemaker3", "SageMaker SDK 3", three.format(uri=URI, instance=instance)
    if serves:
        pod = _SERVE_POD.format(uri=URI, limits=limits)
    else:
        pod = _TRAIN_JOB.format(uri=URI, limits=_indented(limits))
    yield "kubernetes", "Kubernetes", pod
    yield "build", "Build it", f"dlc build '{image.name}'\n"


def _indented(text: str) -> str:
    return "".join(f"    {line}\n" for line in text.splitlines())


def _parts(text: str) -> Iterator[tuple[str, str]]:
    """A text in pieces: (text, "") for what stays, ("", name) for what is filled in."""
    names = {mark.strip("\0"): name for name, mark in FILLS.items()}
    for index, piece in enumerate(text.split("\0")):
        if index % 2:
            yield "", names[piece]
        elif piece:
            yield piece, ""
