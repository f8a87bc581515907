"""The bake file that needs no dlc, caches, and what `dlc bake` says."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

from builder.build.bakefile import (
    NO_CACHE,
    Cache,
    Job,
    definition,
    identifier,
    standalone,
    target_id,
)
from builder.build.plan import framework_layer
from builder.engine.image import KEY_LABEL
from builder.matrix.target import Target
from tests.conftest import ROOT, Dlc
from tests.unit.build.test_bake import CPU, ID, job, plain

__all__ = ["plain"]

TWO = "*2.13.0-transformers4.57.1*"


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A folder with the real matrix and its rendered files."""
    shutil.copy(ROOT / "matrix.yaml", tmp_path)
    for folder in ("pytorch-training", "pytorch-inference", "pytorch-inference-neuron"):
        shutil.copytree(
            ROOT / f"images/huggingface-{folder}", tmp_path / f"images/huggingface-{folder}"
        )
    return tmp_path


def test_a_file_that_stands_alone(small: dict[str, Target]) -> None:
    target = small[CPU]
    key = "0123456789abcdef" * 4
    made = Job(
        target=target,
        context=Path("images") / target.folder,
        arguments={"BASE": "mirror.example/${x}"},
        labels={KEY_LABEL: key},
    )
    found = standalone([made])
    assert found["target"].keys() == {ID}
    told = found["target"][ID]
    assert told["context"] == f"images/{target.folder}"
    assert told["labels"] == {KEY_LABEL: key}
    assert told["args"]["BASE"] == "mirror.example/$${x}"
    prefix = '${REGISTRY == "" ? "" : "${REGISTRY}/"}'
    assert told["tags"] == [
        f"{prefix}{target.name}",
        f"{prefix}{target.repository}:key-0123456789abcdef",
    ]
    groups = {"default", "all", "inference", identifier(framework_layer(target))}
    assert found["group"].keys() == groups
    assert {tuple(group["targets"]) for group in found["group"].values()} == {(ID,)}
    used = set(re.findall(r"[A-Za-z_]+(?= ==| \?|})", json.dumps(found["target"]))) - {"x"}
    assert used - {"null"} <= found["variable"].keys()


def test_groups_hold_every_target_of_theirs(targets: tuple[Target, ...]) -> None:
    found = standalone([job(target) for target in targets])["group"]
    assert set(found["all"]["targets"]) == {target_id(target) for target in targets}
    for mode in ("training", "inference"):
        wanted = [target_id(target) for target in targets if target.mode == mode]
        assert found[mode]["targets"] == wanted
    layers = {identifier(framework_layer(target)) for target in targets}
    assert found.keys() == {"default", "all", "training", "inference", *layers}


def test_nothing_of_the_caller_is_in_it(
    targets: tuple[Target, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://me:hush@proxy.example")
    assert "hush" not in json.dumps(standalone([job(target) for target in targets]))


def test_caches(small: dict[str, Target]) -> None:
    target = small[CPU]
    cache = Cache(
        sources=("h.example/cache", "type=local,src=/c"), destinations=("h.example/cache",)
    )
    [found] = definition([job(target)], {}, cache=cache)["target"].values()
    reference = f"type=registry,ref=h.example/cache:{framework_layer(target)}"
    assert found["cache-from"] == [reference, "type=local,src=/c"]
    assert found["cache-to"] == [f"{reference},mode=max,image-manifest=true,oci-mediatypes=true"]
    assert NO_CACHE.entries(target) == {}


def test_names_of_caches_are_tags(targets: tuple[Target, ...]) -> None:
    """Of 128 characters at most, as registries take them."""
    assert all(re.fullmatch(r"[\w.-]{1,128}", framework_layer(target)) for target in targets)


@pytest.mark.parametrize("text", ["h.example/cache:tag", "h.example/cache@sha256:00"])
def test_a_cache_is_a_repository(text: str, dlc: Dlc) -> None:
    run = dlc("build", TWO, "--cache-to", text)
    assert run.code == 2
    assert "is not HOST[:PORT]/REPOSITORY" in run.err


def test_the_command(dlc: Dlc, own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(own)
    monkeypatch.setenv("DLC_WHEELHOUSE", "")
    monkeypatch.setenv("SSL_CERT_FILE", __file__)
    run = dlc("bake", TWO, "--output", "bake.json")
    assert (run.code, run.out) == (0, "")
    assert run.err == f"build with: CA_BUNDLE={__file__} docker buildx bake -f bake.json\n"
    found = json.loads(Path("bake.json").read_text("utf-8"))["target"]
    assert len(found) == 2
    for told in found.values():
        assert (own / told["context"] / "Dockerfile").is_file()
        assert not Path(told["context"]).is_absolute()
        # The Dockerfile itself names its bases.
        assert "BASE" not in told["args"]
        assert told["labels"].keys() == {"dlc.inputs", "dlc.key"}


def test_bases_of_the_engine(dlc: Dlc, own: Path) -> None:
    run = dlc("--matrix", own / "matrix.yaml", "bake", TWO, "--local-bases")
    for told in json.loads(run.out)["target"].values():
        assert told["args"]["BASE"].startswith("dlc-base/debian12:")


def test_bases_of_a_mirror(dlc: Dlc, own: Path) -> None:
    (own / "mirrors.yaml").write_text("registries: {docker.io: mirror.example/hub}\n", "utf-8")
    run = dlc("--matrix", own / "matrix.yaml", "bake", TWO)
    for told in json.loads(run.out)["target"].values():
        assert told["args"]["BASE"].startswith("mirror.example/hub/library/debian:bookworm@sha256:")
    assert "SITE=dlc-site" in run.err


def test_what_cannot_be_built_is_left_out(dlc: Dlc, own: Path) -> None:
    run = dlc("--matrix", own / "matrix.yaml", "bake", "*1.9.1-*-neuron-*")
    assert run.code == 12
    assert "skipped: huggingface-pytorch-inference-neuron:" in run.err
    assert "there is nothing to bake" in run.err


def test_files_that_are_not_as_rendered(dlc: Dlc, own: Path) -> None:
    for path in own.glob(
        "images/huggingface-pytorch-training/2.13.0-transformers4.57.1*/Dockerfile"
    ):
        path.write_text("FROM scratch\n", "utf-8")
    run = dlc("--matrix", own / "matrix.yaml", "bake", TWO)
    assert run.code == 7
    assert "run `dlc render`" in run.err
