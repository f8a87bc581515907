"""Image URIs: every region's registry, both ways."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builder.errors import RegionError, TagError
from builder.matrix.target import Target
from builder.matrix.uris import ImageUri, parse_uri, regions, registry_host
from tests.conftest import ROOT, Dlc, Run

HOSTS = [
    line
    for line in Path(ROOT, "tests", "data", "registry_hosts.txt").read_text("utf-8").splitlines()
    if not line.startswith("#")
]
TAG = "1.9.1-transformers4.12.3-cpu-py38-ubuntu20.04"
IMAGE = f"huggingface-pytorch-inference:{TAG}"


@pytest.mark.parametrize("host", HOSTS)
def test_registries(host: str) -> None:
    account, region = re.match(r"(\d+)\.dkr\.ecr\.([^.]+)\.", host).groups()  # type: ignore[union-attr]
    assert registry_host(region) == host
    uri = parse_uri(f"{host}/{IMAGE}")
    assert (uri.account, uri.region) == (account, region)
    assert str(uri) == f"{host}/{IMAGE}"


def test_there_are_no_other_registries() -> None:
    assert sorted(registry_host(region) for region in regions()) == sorted(HOSTS)


@given(
    st.sampled_from(sorted(regions()))
    | st.from_regex(r"(cn|us|us-iso|eu)-[a-z]{4}-[1-9]", fullmatch=True),
    st.from_regex(r"[0-9]{12}", fullmatch=True),
    st.data(),
)
def test_round_trip(
    targets: tuple[Target, ...], region: str, account: str, data: st.DataObject
) -> None:
    target = data.draw(st.sampled_from(targets))
    text = f"{registry_host(region, account)}/{target.name}"
    uri = parse_uri(text)
    assert uri.account == account
    assert uri.region == region
    assert uri.tag == target.parts
    assert str(uri.repository) == target.repository
    assert str(uri) == text
    assert parse_uri(str(uri)) == uri


# The two examples of the reference tables


@pytest.mark.parametrize(
    ("region", "uri"),
    [
        (
            "us-west-2",
            "763104351884.dkr.ecr.us-west-2.amazonaws.com/huggingface-pytorch-training:"
            "1.6.0-transformers4.4.2-gpu-py36-cu110-ubuntu18.04",
        ),
        (
            "us-east-1",
            "763104351884.dkr.ecr.us-east-1.amazonaws.com/huggingface-tensorflow-inference:"
            "2.4.1-transformers4.6.1-cpu-py37-ubuntu18.04",
        ),
    ],
)
def test_the_examples_of_the_reference(region: str, uri: str, dlc: Dlc, root: Path) -> None:
    tag = uri.split(":")[1]
    run = dlc("--matrix", root / "matrix.yaml", "uri", tag, "--region", region)
    assert run == Run(code=0, out=f"{uri}\n", err="")


def test_an_account_of_ones_own(dlc: Dlc, golden: Path) -> None:
    matrix = golden / "matrix.yaml"
    run = dlc("--matrix", matrix, "uri", IMAGE, "--account", "012345678901")
    assert run.out == f"012345678901.dkr.ecr.us-east-1.amazonaws.com/{IMAGE}\n"
    run = dlc("--matrix", matrix, "uri", IMAGE, "--account", "012345678901", "--region", "cn-new-9")
    assert run.out == f"012345678901.dkr.ecr.cn-new-9.amazonaws.com.cn/{IMAGE}\n"


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (
            ["--region", "us-est-1"],
            6,
            "'us-est-1' is not a region with official images; "
            "did you mean 'us-west-1' or 'us-east-1' or 'us-west-2'?",
        ),
        (
            ["--account", "1234"],
            6,
            "'1234' is not an AWS account; it has twelve digits",
        ),
        (
            ["--account", "012345678901", "--region", "Ohio"],
            6,
            "'Ohio' is not a region with official images; known: "
            + ", ".join([*regions()][:20])
            + f" and {len(regions()) - 20} more",
        ),
    ],
)
def test_wrong_regions(options: list[str], code: int, message: str, dlc: Dlc, golden: Path) -> None:
    run = dlc("--matrix", golden / "matrix.yaml", "uri", IMAGE, *options)
    assert run == Run(code=code, out="", err=f"dlc: {message}\n")


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        (
            f"763104351884.dkr.ecr.cn-north-1.amazonaws.com/{IMAGE}",
            "has the wrong DNS suffix; the host is "
            "763104351884.dkr.ecr.cn-north-1.amazonaws.com.cn",
        ),
        (
            f"763104351884.dkr.ecr.us-east-1.amazonaws.com.cn/{IMAGE}",
            "has the wrong DNS suffix; the host is 763104351884.dkr.ecr.us-east-1.amazonaws.com",
        ),
        (
            f"763104351884.dkr.ecr.us-east-1.evilamazonaws.com/{IMAGE}",
            "has the wrong DNS suffix; the host is 763104351884.dkr.ecr.us-east-1.amazonaws.com",
        ),
        (
            f"763104351884.dkr.ecr.us-east-1.com/{IMAGE}",
            "has the wrong DNS suffix; the host is 763104351884.dkr.ecr.us-east-1.amazonaws.com",
        ),
        (f"localhost:5000/{IMAGE}", "is not an image URI; it looks like"),
        (f"76310435188.dkr.ecr.us-east-1.amazonaws.com/{IMAGE}", "is not an image URI"),
        (f"https://763104351884.dkr.ecr.us-east-1.amazonaws.com/{IMAGE}", "is not an image URI"),
        (f"763104351884.dkr.ecr.us-east-1.amazonaws.com/team/{IMAGE}", "is not an image URI"),
        (
            f"763104351884.dkr.ecr.us-east-1.amazonaws.com/huggingface-jax-training:{TAG}",
            "'huggingface-jax-training' is not a repository name",
        ),
        (
            "763104351884.dkr.ecr.us-east-1.amazonaws.com/huggingface-pytorch-training:latest",
            "'latest' is not a tag",
        ),
    ],
)
def test_wrong_uris(uri: str, message: str) -> None:
    with pytest.raises(TagError) as caught:
        parse_uri(uri)
    assert message in str(caught.value)


def test_a_uri_of_an_unknown_region() -> None:
    # Any twelve digits may own a registry there.
    uri = f"012345678901.dkr.ecr.eu-new-3.amazonaws.com/{IMAGE}"
    assert parse_uri(uri).region == "eu-new-3"
    with pytest.raises(RegionError, match="'eu-new' is not a region"):
        parse_uri(uri.replace("eu-new-3", "eu-new"))


def test_parts_make_a_uri(small: dict[str, Target]) -> None:
    uri = parse_uri(f"763104351884.dkr.ecr.eu-west-1.amazonaws.com/{IMAGE}")
    assert uri == ImageUri(
        account="763104351884",
        region="eu-west-1",
        repository=uri.repository,
        tag=small[IMAGE].parts,
    )
