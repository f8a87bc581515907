"""The SageMaker SDK itself: it finds our images by our files, and by its own where it is right."""

from __future__ import annotations

import functools
import json
import re
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import replace
from fnmatch import fnmatchcase
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml

from builder.matrix.tags import python_tag, short
from builder.matrix.target import Target
from builder.matrix.uris import regions, registry_host
from builder.report.sdk_config import sdk_config
from docs.examples.own_images import use_images
from tests.conftest import GOLDEN, Dlc

ACCOUNT = "012345678901"
INSTANCES = {"cpu": "ml.m5.xlarge", "gpu": "ml.g5.xlarge"}
DIFFERENCES = yaml.safe_load(
    Path(__file__).parents[2].joinpath("data", "sdk_differences.yaml").read_text("utf-8")
)


@pytest.fixture(scope="module")
def sdk() -> Iterator[Any]:
    """sagemaker.image_uris, whose files about AWS itself are read once instead of at each call."""
    if find_spec("sagemaker") is None:
        pytest.skip("the SDK is not in the lock of the lowest versions")
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        patch.setenv("SAGEMAKER_SUPPRESS_V2_WARNING", "1")
        patch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
        patch.setenv("AWS_ACCESS_KEY_ID", "none")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "none")
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        from sagemaker import image_uris, utils

        patch.setattr(utils, "_botocore_resolver", functools.cache(utils._botocore_resolver))
        cached = functools.cache(image_uris.config_for_framework)
        patch.setattr(image_uris, "config_for_framework", cached)
        yield image_uris


@pytest.fixture
def ours(sdk: Any, tmp_path: Path, dlc: Dlc, root: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The SDK with our files in place of its own, for every region."""
    folder = tmp_path / "image_uri_config"
    options = [word for region in regions() for word in ("--region", region)]
    command = ["--matrix", root / "matrix.yaml", "sdk-config", "--account", ACCOUNT, "--to", folder]
    assert dlc(*command, *options).code == 0
    put_into_the_sdk(sdk, folder, monkeypatch)
    return sdk


def put_into_the_sdk(sdk: Any, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The SDK looks into image_uri_config beside its module, and nowhere else."""
    assert folder.name == "image_uri_config"
    monkeypatch.setattr(sdk, "__file__", str(folder.with_name("image_uris.py")))
    plain = sdk.config_for_framework.__wrapped__
    monkeypatch.setattr(sdk, "config_for_framework", functools.cache(plain))


def tool(target: Target) -> str:
    """`neuron`, `neuronx` or nothing, as the repository says."""
    return target.repository.partition(f"-{target.mode}")[2].strip("-")


def asked(target: Target, version: str, framework_version: str) -> dict[str, Any]:
    """What one asks the SDK for a target's image."""
    neuron = "ml.inf1.xlarge" if target.mode == "inference" else None
    return {
        "framework": "huggingface",
        "version": version,
        "py_version": python_tag(target.python),
        "instance_type": neuron if tool(target) else INSTANCES[target.device],
        "image_scope": target.mode,
        "base_framework_version": f"{target.framework}{framework_version}",
        "inference_tool": tool(target) or None,
    }


def full(target: Target) -> dict[str, Any]:
    return asked(target, target.transformers, target.framework_version)


def uri(target: Target, region: str, tag: str | None = None) -> str:
    return f"{registry_host(region, ACCOUNT)}/{target.repository}:{tag or target.tag}"


# With our files


@pytest.mark.parametrize(
    ("step", "some"),
    [
        pytest.param(1, ("eu-west-1",), id="every image"),
        pytest.param(24, (), id="every region"),
        pytest.param(1, (), id="all", marks=pytest.mark.slow),
    ],
)
def test_sdk_finds_every_image_in_every_region(
    step: int, some: tuple[str, ...], ours: Any, targets: tuple[Target, ...]
) -> None:
    left_out = sdk_config(targets, ACCOUNT, regions()).left_out
    wanted = [target for target in targets if target.name not in left_out]
    assert {target.origin for target in wanted} >= {"official", "own"}
    for target in wanted[::step]:
        for region in some or regions():
            assert ours.retrieve(region=region, **full(target)) == uri(target, region)


def test_sdk_finds_images_by_short_versions(ours: Any, targets: tuple[Target, ...]) -> None:
    """The short tag is one that a release carries; for Neuron the SDK makes the full one of it."""
    left_out = sdk_config(targets, ACCOUNT, regions()).left_out
    for target in targets:
        if target.name in left_out or (tool(target) and target.mode == "training"):
            continue
        two, fw = (
            ".".join(v.split(".")[:2]) for v in (target.transformers, target.framework_version)
        )
        brief = None if tool(target) else short(target.parts)
        found = ours.retrieve(region="eu-west-1", **asked(target, two, fw))
        assert found == uri(target, "eu-west-1", str(brief or target.parts))


def test_what_is_left_out_is_what_the_sdk_cannot_tell(targets: tuple[Target, ...]) -> None:
    def known_by(target: Target) -> tuple[str, ...]:
        return (
            *(target.repository, target.transformers, target.framework_version),
            *(target.device, target.python),
        )

    twin = replace(targets[0], base=replace(targets[0].base, name="debian12"))
    made = sdk_config([*targets, twin], ACCOUNT, ["eu-west-1"])
    assert made.left_out[twin.name] == f"the SDK cannot tell it from {targets[0].name}"
    named = {target.name: target for target in [*targets, twin]}
    for name, why in made.left_out.items():
        if named[name].platform != "linux/amd64":
            assert why == f"the SDK cannot ask for {named[name].platform}"
        elif named[name].variant:
            assert why == "the SDK cannot ask for a variant"
        else:
            assert known_by(named[name]) == known_by(named[why.rpartition(" ")[2]])


def test_two_pythons_of_one_version(
    sdk: Any, targets: tuple[Target, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = next(each for each in targets if each.mode == "inference" and each.device == "cpu")
    pair = (first, replace(first, python="3.9"))
    folder = tmp_path / "image_uri_config"
    folder.mkdir()
    for name, text in sdk_config(pair, ACCOUNT, ["eu-west-1"]).files.items():
        (folder / name).write_text(text, "utf-8")
    put_into_the_sdk(sdk, folder, monkeypatch)
    for target in pair:
        assert sdk.retrieve(region="eu-west-1", **full(target)) == uri(target, "eu-west-1")


@pytest.mark.parametrize(
    ("repository", "mode", "device", "question"),
    [
        ("pytorch-inference-neuronx", "inference", "neuronx", {"instance_type": "ml.inf2.xlarge"}),
        ("pytorch-training-neuronx", "training", "neuronx", {"instance_type": None}),
        ("pytorch-trcomp-training", "training", "gpu", {"training_compiler_config": object()}),
    ],
)
def test_repositories_with_files_of_their_own(
    repository: str,
    mode: str,
    device: str,
    question: dict[str, Any],
    sdk: Any,
    targets: tuple[Target, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    repository = f"huggingface-{repository}"
    some = next(each for each in targets if each.device == device.removesuffix("x"))
    target = replace(some, mode=mode)
    monkeypatch.setattr(Target, "repository", property(lambda _: repository))
    folder = tmp_path / "image_uri_config"
    folder.mkdir()
    [(name, text)] = sdk_config([target], ACCOUNT, ["eu-west-1"]).files.items()
    (folder / name).write_text(text, "utf-8")
    put_into_the_sdk(sdk, folder, monkeypatch)
    found = sdk.retrieve(region="eu-west-1", **{**full(target), **question})
    assert found == uri(target, "eu-west-1", target.tag.replace("neuron", "neuronx"))


def test_sdk_says_what_there_is_not(ours: Any, small: dict[str, Target]) -> None:
    target = next(each for each in small.values() if each.mode == "training")
    wanted = full(target)
    for change, message in (
        ({"region": "eu-new-1"}, "Unsupported region: eu-new-1"),
        ({"version": "9.9.9"}, "Unsupported huggingface version: 9.9.9"),
        ({"base_framework_version": "pytorch9.9"}, "Unsupported base framework: pytorch9.9"),
        ({"py_version": "py27"}, "Unsupported Python version: py27"),
        ({"instance_type": "ml.m5.xlarge"}, "Unsupported processor: cpu"),
        ({"instance_type": "ml.inf1.xlarge"}, "Unsupported huggingface version"),
    ):
        with pytest.raises(ValueError, match=message):
            ours.retrieve(**{"region": "eu-west-1", **wanted, **change})


@pytest.mark.slow
def test_estimator_and_model_find_their_images(ours: Any, targets: tuple[Target, ...]) -> None:
    del ours
    from sagemaker.huggingface import HuggingFace, HuggingFaceModel

    for target in targets:
        if tool(target) or target.variant or target.platform != "linux/amd64":
            continue
        versions = {
            "role": "arn:aws:iam::012345678901:role/none",
            "transformers_version": target.transformers,
            f"{target.framework}_version": target.framework_version,
            "py_version": python_tag(target.python),
        }
        instance = INSTANCES[target.device]
        if target.mode == "inference":
            found = HuggingFaceModel(**versions).serving_image_uri("eu-west-1", instance)
        else:
            found = HuggingFace(
                entry_point="train.py", instance_type=instance, instance_count=1, **versions
            ).training_image_uri("eu-west-1")
        assert found == uri(target, "eu-west-1")


def test_example_of_the_docs(
    sdk: Any, targets: tuple[Target, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sdk, "config_for_framework", sdk.config_for_framework)  # to be put back
    own = next(target for target in targets if target.origin == "own")
    for name, text in sdk_config([own], ACCOUNT, ["eu-west-1"]).files.items():
        (tmp_path / name).write_text(text, "utf-8")
    with pytest.raises(ValueError, match="Unsupported huggingface version"):
        sdk.retrieve(region="eu-west-1", **full(own))
    use_images(tmp_path)
    assert sdk.retrieve(region="eu-west-1", **full(own)) == uri(own, "eu-west-1")
    other = sdk.retrieve("sklearn", "eu-west-1", version="1.2-1", instance_type="ml.m5.xlarge")
    assert "sagemaker-scikit-learn:1.2-1" in other


# With its own files


def says(sdk: Any, target: Target, region: str) -> str:
    """The tag that the SDK makes in the right registry and repository, or what it does not know."""
    # What the estimator gives along for every training job on GPUs.
    given = "cu110-ubuntu18.04" if (target.mode, target.device) == ("training", "gpu") else None
    try:
        found = sdk.retrieve(region=region, container_version=given, **full(target))
    except ValueError as error:
        unknown = re.match(r"Unsupported (\w+( \w+)?): ", str(error))
        return f"unsupported {unknown[1]}" if unknown else str(error)
    except KeyError as error:  # its own file contradicts itself
        return f"breaks off at {error}"
    return str(found).removeprefix(f"{registry_host(region)}/{target.repository}:")


def listed(entry: Mapping[str, Any], target: Target, region: str) -> bool:
    named = (
        target.origin == entry["origin"]
        if "origin" in entry
        else any(fnmatchcase(target.name, glob) for glob in entry["images"])
    )
    return named and (entry["regions"] == "all" or region in entry["regions"])


def lines(found: Mapping[str, list[str]]) -> str:
    told = {
        what: "all regions" if len(named) == len(regions()) else ", ".join(named)
        for what, named in found.items()
    }
    return "\n".join(f"{what} in {named}" for what, named in told.items())


@pytest.mark.slow
def test_differences_are_those_that_are_listed(sdk: Any, targets: tuple[Target, ...]) -> None:
    new: dict[str, list[str]] = {}
    gone: dict[str, list[str]] = {}
    used = set()
    for target in targets:
        for region in regions():
            said = says(sdk, target, region)
            entry = next((each for each in DIFFERENCES if listed(each, target, region)), None)
            expected = entry["sdk"] if entry else target.tag
            if entry:
                used.add(id(entry))
            if said != expected:
                found = gone if said == target.tag else new
                found.setdefault(f"{target.name}: {said}", []).append(region)
    assert not new, f"differences that are not listed:\n{lines(new)}"
    assert not gone, f"listed, and the SDK is right:\n{lines(gone)}"
    unused = [entry["why"] for entry in DIFFERENCES if id(entry) not in used]
    assert not unused, f"listed for nothing: {unused}"
    assert all(entry["why"] for entry in DIFFERENCES)


def test_sdk_names_images_that_were_never_released(sdk: Any, targets: tuple[Target, ...]) -> None:
    """As the reference tables do: TensorFlow 2.4.1 with 4.10.2, where AWS released 2.4.3."""
    unreleased = [target for target in targets if target.origin == "unreleased"]
    assert unreleased
    for target in unreleased:
        assert says(sdk, target, "us-east-1") == target.tag


# The command


def test_official_registries_have_released_images(dlc: Dlc, root: Path, tmp_path: Path) -> None:
    told = dlc("--matrix", root / "matrix.yaml", "sdk-config", "--to", tmp_path)
    assert told.code == 0
    wrote = [line for line in told.err.splitlines() if line.startswith("wrote ")]
    assert wrote == [f"wrote {path}" for path in sorted(tmp_path.iterdir())]
    left_out = [line for line in told.err.splitlines() if line not in wrote]
    assert [line for line in left_out if "2.4.1-transformers4.10.2" in line]
    assert all(": the official registries do not have it: " in line for line in left_out)
    config = json.loads((tmp_path / "huggingface.json").read_text("utf-8"))
    entry = config["training"]["versions"]["4.4.2"]["pytorch1.6.0"]
    assert entry["registries"] == {name: each["account"] for name, each in regions().items()}
    assert "4.57.1" not in config["training"]["versions"]


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["--region", "us-est-1"], 6, "'us-est-1' is not a region with official images"),
        (["--account", "1234"], 6, "'1234' is not an AWS account; it has twelve digits"),
        (["*-transformers4.57.1-*"], 4, "no image is left; name an --account that has them"),
    ],
)
def test_mistakes(
    options: list[str], code: int, message: str, dlc: Dlc, root: Path, tmp_path: Path
) -> None:
    run = dlc("--matrix", root / "matrix.yaml", "sdk-config", "--to", tmp_path, *options)
    assert run.code == code
    assert message in run.err
    assert list(tmp_path.iterdir()) == []


def test_only_what_is_selected(dlc: Dlc, tmp_path: Path) -> None:
    dlc(
        *("--matrix", GOLDEN / "matrix.yaml", "sdk-config", "--mode", "inference"),
        *("--device", "cpu", "--account", ACCOUNT, "--region", "eu-west-1", "--to", tmp_path),
    )
    config = json.loads((tmp_path / "huggingface.json").read_text("utf-8"))
    assert config["training"]["versions"] == {}
    for release in config["inference"]["versions"].values():
        for name, entry in release.items():
            if name != "version_aliases":
                assert entry["processors"] == ["cpu"]
                assert entry["registries"] == {"eu-west-1": ACCOUNT}
