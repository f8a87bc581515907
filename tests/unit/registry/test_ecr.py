"""`dlc ecr` against moto, and what pushes want to know of ECR."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from builder.errors import RegistryError
from builder.registry.auth import Login
from builder.registry.ecr import EcrHost, ecr_host, keeper, login, logins, mutability
from tests.conftest import Dlc

boto3 = pytest.importorskip("boto3")
moto = pytest.importorskip("moto")

HOST = "123456789012.dkr.ecr.eu-west-1.amazonaws.com"
ECR = ("ecr", "plan", "*4.12.3*", "--mode", "inference", "--region", "eu-west-1")
NAMES = [
    "huggingface-pytorch-inference",
    "huggingface-pytorch-inference-neuron",
    "huggingface-tensorflow-inference",
]


@pytest.fixture(autouse=True)
def settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Keys of nobody, and none of the caller's settings."""
    for name in os.environ:
        if name.startswith("AWS_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setattr("boto3.DEFAULT_SESSION", None)  # it read the settings before


@pytest.fixture
def aws() -> Iterator[Any]:
    """An ECR of moto's; takes half a second to set up."""
    with moto.mock_aws():
        yield boto3.client("ecr", region_name="eu-west-1")


def arguments(verb: str, *more: str) -> tuple[str, ...]:
    return ("ecr", verb, *ECR[2:], *more)


def test_plan_apply_and_nothing_left(dlc: Dlc, aws: Any) -> None:
    before = dlc(*arguments("plan", "--format", "json", "--prefix", "team"))
    assert before.code == 0, before.err
    assert {each["repository"] for each in json.loads(before.out)} == {f"team/{n}" for n in NAMES}
    assert aws.describe_repositories()["repositories"] == []
    assert dlc(*arguments("plan", "--check")).code == 7

    done = dlc(*arguments("apply", "--prefix", "team", "--readers", "210987654321"))
    assert done.code == 0, done.err
    assert len(aws.describe_repositories()["repositories"]) == 3
    for name in NAMES:
        [found] = aws.describe_repositories(repositoryNames=[f"team/{name}"])["repositories"]
        assert found["imageTagMutability"] == "MUTABLE_WITH_EXCLUSION"
        assert found["imageScanningConfiguration"] == {"scanOnPush": True}
        lifecycle = aws.get_lifecycle_policy(repositoryName=f"team/{name}")["lifecyclePolicyText"]
        assert json.loads(lifecycle)["rules"][0]["selection"]["countNumber"] == 30
        policy = json.loads(aws.get_repository_policy(repositoryName=f"team/{name}")["policyText"])
        assert "arn:aws:iam::210987654321:root" in str(policy["Statement"][0]["Principal"])

    again = arguments("plan", "--check", "--prefix", "team", "--readers", "210987654321")
    assert (dlc(*again).code, dlc(*again).err) == (0, "ECR is up to date\n")
    applied = dlc(*arguments("apply", "--prefix", "team", "--format", "json"))
    assert (applied.code, applied.out) == (0, "[]\n")


def test_what_somebody_changed_is_put_right(dlc: Dlc, aws: Any) -> None:
    assert dlc(*arguments("apply", "--readers", "210987654321")).code == 0
    [name, *_] = NAMES
    aws.put_image_tag_mutability(repositoryName=name, imageTagMutability="MUTABLE")
    scanning = {"scanOnPush": False}
    aws.put_image_scanning_configuration(repositoryName=name, imageScanningConfiguration=scanning)
    aws.delete_lifecycle_policy(repositoryName=name)
    aws.delete_repository_policy(repositoryName=name)
    told = dlc(*arguments("plan", "--readers", "210987654321"))
    lines = told.out.splitlines()[1:]
    assert [" ".join(line.split()[:2]) for line in lines] == [
        f"{name} tags",
        f"{name} scan",
        f"{name} lifecycle",
        f"{name} policy",
    ]
    assert "MUTABLE_WITH_EXCLUSION key-* *-v1.* *-v2.* *-v3.*" in lines[0]
    # Without readers the policy is nobody's business.
    assert "policy" not in dlc(*arguments("plan")).out.replace("lifecycle", "")
    assert dlc(*arguments("apply", "--readers", "210987654321")).code == 0
    assert dlc(*arguments("plan", "--check", "--readers", "210987654321")).code == 0


@pytest.mark.parametrize(("keep", "kind"), [("all", "IMMUTABLE"), ("none", "MUTABLE")])
def test_other_ways_to_keep_tags(dlc: Dlc, aws: Any, keep: str, kind: str) -> None:
    assert dlc(*arguments("apply")).code == 0
    assert dlc(*arguments("apply", "--keep", keep)).code == 0
    kinds = {each["imageTagMutability"] for each in aws.describe_repositories()["repositories"]}
    assert kinds == {kind}
    assert dlc(*arguments("plan", "--check", "--keep", keep)).code == 0


def test_no_credentials_is_one_clear_message(dlc: Dlc, monkeypatch: pytest.MonkeyPatch) -> None:
    from botocore.exceptions import NoCredentialsError

    def refuse(*_: object, **__: object) -> None:
        raise NoCredentialsError

    monkeypatch.setattr("botocore.client.BaseClient._make_api_call", refuse)
    told = dlc(*arguments("plan"))
    assert told.code == 15
    assert told.err == (
        "dlc: ECR: Unable to locate credentials; set AWS credentials and a region, then try again\n"
    )


@pytest.mark.parametrize("region", ["x y", "", "nowhere", "eu-west-1/x", "eu-west-\u0661"])
def test_region_is_one(dlc: Dlc, region: str) -> None:
    told = dlc("ecr", "plan", "--region", region)
    assert (told.code, told.out) == (6, "")
    assert told.err.startswith(f"dlc: {region!r} is not a region of AWS; ")
    assert told.err.count("\n") == 1


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("AWS_PROFILE", "missing", "The config profile (missing) could not be found"),
        ("AWS_ENDPOINT_URL", "example", "Invalid endpoint: example"),
        ("AWS_ENDPOINT_URL", "http://x y", "Invalid endpoint: http://x y"),
        ("AWS_SECRET_ACCESS_KEY", "", "Partial credentials found in env"),
        ("AWS_DEFAULTS_MODE", "x", "Client configured with invalid defaults mode: x."),
        ("AWS_CONFIG_FILE", "config", "Unable to parse config file"),
    ],
)
def test_settings_of_aws_that_are_not_sound(
    dlc: Dlc, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, value: str, words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config").write_text("[x\n")
    monkeypatch.setenv(name, value)
    told = dlc(*arguments("plan"))
    assert (told.code, told.out) == (15, "")
    assert told.err.startswith(f"dlc: invalid AWS configuration: {words}")
    assert told.err.endswith("; fix the AWS_ variables or the files of `aws configure`\n")


def test_without_boto3(dlc: Dlc, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [each for each in sys.modules if each.startswith(("boto3", "botocore"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "boto3", None)
    monkeypatch.setitem(sys.modules, "botocore", None)
    assert dlc(*arguments("plan")).err.endswith("; pip install 'dlc-builder[aws]'\n")
    with pytest.raises(RegistryError, match="ECR needs boto3"):
        login(EcrHost(account="123456789012", region="eu-west-1"))


def test_account_is_twelve_digits(dlc: Dlc) -> None:
    assert dlc(*arguments("plan", "--account", "12")).code == 2
    assert dlc(*arguments("plan", "--readers", "x")).code == 2


@pytest.mark.parametrize(
    ("host", "found"),
    [
        (HOST, EcrHost(account="123456789012", region="eu-west-1")),
        (
            "123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn",
            EcrHost(account="123456789012", region="cn-north-1"),
        ),
        (
            "123456789012.dkr.ecr-fips.us-east-1.amazonaws.com",
            EcrHost(account="123456789012", region="us-east-1"),
        ),
        ("123456789012.dkr.ecr.cn-north-1.amazonaws.com", None),
        ("123456789012.dkr.ecr.eu-west-1.example.com", None),
        ("123456789012.dkr.ecr.eu-west-1.amazonaws.com.example.com", None),
        ("12.dkr.ecr.eu-west-1.amazonaws.com", None),
        ("123456789012.dkr.ecr.Nowhere.amazonaws.com", None),
        ("registry.example.com", None),
    ],
)
def test_hosts(host: str, found: EcrHost | None) -> None:
    assert ecr_host(host) == found


@pytest.mark.usefixtures("aws")
def test_logins(monkeypatch: pytest.MonkeyPatch) -> None:
    mine = Login(user="me", password="mine")
    bought = Login(user="AWS", password="123456789012-auth-token")
    assert logins(lambda _: mine)(HOST) == mine
    assert logins(lambda _: None)(HOST) == bought
    assert logins(lambda _: None)("registry.example.com") is None

    def refuse(*_: object, **__: object) -> None:
        from botocore.exceptions import NoCredentialsError

        raise NoCredentialsError

    monkeypatch.setattr("botocore.client.BaseClient._make_api_call", refuse)
    with pytest.raises(RegistryError, match="AWS gives no login for the registry of 123456789012"):
        login(EcrHost(account="123456789012", region="eu-west-1"))


@pytest.mark.parametrize(
    ("kind", "kept", "moving"),
    [
        ("MUTABLE", "", "a-v1.0 key-1 a"),
        ("IMMUTABLE", "a-v1.0 key-1 a a-v1", ""),
        ("MUTABLE_WITH_EXCLUSION", "a-v1.0 key-1", "a a-v1 a-v4.0"),
        ("IMMUTABLE_WITH_EXCLUSION", "a a-v1", "a-v1.0 key-1"),
    ],
)
def test_which_tags_a_repository_keeps(kind: str, kept: str, moving: str) -> None:
    filters = [{"filterType": "WILDCARD", "filter": each} for each in ("key-*", "*-v1.*")]
    excluded = filters if kind.endswith("EXCLUSION") else []
    keeps = mutability({"imageTagMutability": kind, "imageTagMutabilityExclusionFilters": excluded})
    assert [tag for tag in f"{kept} {moving}".split() if keeps(tag)] == kept.split()


@pytest.mark.usefixtures("aws")
def test_keeper_asks_ecr(dlc: Dlc) -> None:
    assert dlc(*arguments("apply", "--keep", "all")).code == 0
    keeps = keeper(HOST)
    assert keeps(NAMES[0], "a")
    assert not keeps("unknown", "a")
    assert not keeper("registry.example.com")("unknown", "a")
