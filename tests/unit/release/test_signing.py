"""What cosign is asked, and what is made of its answers: with a stand-in for the program."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from builder.build.comparison import Comparison
from builder.build.plan import Planned
from builder.errors import ArgumentError, PushError, SignatureError
from builder.matrix.target import Target
from builder.registry.client import DOCKER_MANIFEST, Manifest
from builder.release import signing, verify
from builder.release.attestations import test_result as result_of
from builder.release.signing import KEYLESS, PROVENANCE, SPDX, Signer, Verifier, find_cosign
from tests.conftest import Dlc

REFERENCE = f"registry.example.com/team/image@sha256:{'a' * 64}"

# Writes what it is asked to a file; $FAILS are its words that fail, $SAYS what it then says.
COSIGN = """#!/bin/sh
if [ "$2" = --help ]; then echo "$HELP"; exit 0; fi
echo "$@" >> "$ASKED"
case " $FAILS " in *" $1 "*) printf '%b\\n' "$SAYS" >&2; exit 1 ;; esac
case "$*" in *"--type $NONE"*) exit 1 ;; esac
"""


@dataclass(frozen=True, kw_only=True)
class Program:
    """The stand-in, and the keys beside it."""

    folder: Path
    patch: pytest.MonkeyPatch

    def asked(self) -> list[str]:
        return (self.folder / "asked").read_text("utf-8").splitlines()

    def fails(self, verb: str, says: str) -> None:
        self.patch.setenv("FAILS", verb)
        self.patch.setenv("SAYS", says)


@pytest.fixture(params=["2", "3"])
def cosign(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Program:
    (tmp_path / "cosign").write_text(COSIGN, "utf-8")
    (tmp_path / "cosign").chmod(0o755)
    for name in ("ours.key", "ours.pub"):
        (tmp_path / name).touch()
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setenv("ASKED", str(tmp_path / "asked"))
    monkeypatch.setenv("HELP", "--signing-config=''" if request.param == "3" else "--tlog-upload")
    monkeypatch.setenv("NONE", "nothing")
    return Program(folder=tmp_path, patch=monkeypatch)


def signer(cosign: Program, *, log: bool = False, key: str = "") -> Signer:
    return Signer(cosign=find_cosign(), key=key or str(cosign.folder / "ours.key"), log=log)


def verifier(cosign: Program) -> Verifier:
    return Verifier(cosign=find_cosign(), key=str(cosign.folder / "ours.pub"))


@pytest.mark.integration
def test_a_key_signs_without_a_public_log(cosign: Program) -> None:
    signer(cosign).sign(REFERENCE)
    signer(cosign).attest(REFERENCE, SPDX, {"a": 1})
    sign, attest = cosign.asked()
    key = f"--key={cosign.folder}/ours.key"
    quiet = "--use-signing-config=false " if find_cosign().configured else ""
    assert sign == f"sign --yes {key} {quiet}--tlog-upload=false {REFERENCE}"
    assert attest.startswith(f"attest --yes {key} {quiet}--tlog-upload=false --type spdxjson ")
    assert attest.endswith(REFERENCE)


@pytest.mark.integration
def test_a_log_and_keyless_are_said(cosign: Program) -> None:
    signer(cosign, log=True).sign(REFERENCE)
    signer(cosign, key=KEYLESS).sign(REFERENCE)
    signer(cosign, key="awskms:///alias/release", log=True).sign(REFERENCE)
    assert cosign.asked() == [
        f"sign --yes --key={cosign.folder}/ours.key {REFERENCE}",
        f"sign --yes {REFERENCE}",
        f"sign --yes --key=awskms:///alias/release {REFERENCE}",
    ]


@pytest.mark.integration
def test_a_signature_that_fails_is_told_in_one_line(cosign: Program) -> None:
    cosign.fails("sign", "a\\nError: signing: no\\033[2J password\\nerror during command execution")
    with pytest.raises(
        PushError, match=r"not signed: cosign says: signing: no\?\[2J password"
    ) as caught:
        signer(cosign).sign(REFERENCE)
    assert "COSIGN_PASSWORD" in caught.value.remedy
    cosign.patch.setenv("COSIGN_PASSWORD", "wrong")
    with pytest.raises(PushError) as caught:
        signer(cosign).sign(REFERENCE)
    assert "push again" in caught.value.remedy
    assert "wrong" not in str(caught.value)


@pytest.mark.integration
def test_what_is_stated_of_a_signed_image(cosign: Program) -> None:
    assert verifier(cosign).verify(REFERENCE) == ("SPDX", "provenance", "test result")
    cosign.patch.setenv("NONE", PROVENANCE)
    assert verifier(cosign).verify(REFERENCE) == ("SPDX", "test result")
    assert cosign.asked()[0] == (
        f"verify --key={cosign.folder}/ours.pub --insecure-ignore-tlog=true {REFERENCE}"
    )


@pytest.mark.integration
def test_an_image_that_is_not_signed(cosign: Program) -> None:
    cosign.fails("verify", "Error: no signatures found")
    with pytest.raises(SignatureError, match=r"is not signed by .*ours\.pub: cosign says: no sig"):
        verifier(cosign).verify(REFERENCE)
    assert len(cosign.asked()) == 1


@pytest.mark.integration
def test_who_signed_keyless_is_asked_with_the_log(cosign: Program) -> None:
    made = Verifier(cosign=find_cosign(), identity="me@example.com", issuer="https://a.example")
    made.verify(REFERENCE)
    assert cosign.asked()[0] == (
        "verify --certificate-identity=me@example.com "
        f"--certificate-oidc-issuer=https://a.example {REFERENCE}"
    )


def test_without_cosign_it_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(PushError, match="cosign is not installed; install"):
        find_cosign()


COSIGN_HERE = signing.Cosign(program=os.devnull, configured=False)


@pytest.mark.parametrize(
    ("key", "identity", "issuer"),
    [("", "", ""), ("awskms:///a", "me", "https://a"), ("", "me", ""), ("", "", "https://a")],
)
def test_whose_signature_is_wanted_is_said_once(key: str, identity: str, issuer: str) -> None:
    with pytest.raises(ArgumentError, match="whose signature"):
        Verifier(cosign=COSIGN_HERE, key=key, identity=identity, issuer=issuer)


def test_a_key_that_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match=r"--sign: there is no file .*none\.key"):
        Signer(cosign=COSIGN_HERE, key=str(tmp_path / "none.key"))
    with pytest.raises(ArgumentError, match=r"--key: there is no file .*none\.pub"):
        Verifier(cosign=COSIGN_HERE, key=str(tmp_path / "none.pub"))


def test_a_test_result_names_what_passed() -> None:
    made = result_of(["test_b", "test_a"])
    assert made["result"] == "PASSED"
    assert made["passedTests"] == ["test_a", "test_b"]


# The commands


class There:
    """A registry that has one of two targets."""

    def __init__(self, *_: object, **__: object) -> None: ...

    def manifest(self, _: str, tag: str) -> Manifest | None:
        return Manifest(content=tag.encode(), media_type=DOCKER_MANIFEST) if "cpu" in tag else None


@pytest.fixture
def there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verify, "RegistryClient", There)


def pair(targets: Sequence[Target]) -> tuple[Target, Target]:
    named = {each.device: each for each in targets if each.framework == "pytorch"}
    return named["cpu"], named["gpu"]


@pytest.mark.integration
@pytest.mark.usefixtures("there")
def test_verify_tells_every_image(cosign: Program, dlc: Dlc, targets: tuple[Target, ...]) -> None:
    cpu, gpu = pair(targets)
    asked = ("--registry", "registry.example.com/team", "--key", str(cosign.folder / "ours.pub"))
    run = dlc("verify", cpu.name, gpu.name, *asked, "--format", "json")
    assert run.code == 20
    rows = {row["signed"]: row for row in json.loads(run.out)}
    assert rows[True]["image"].startswith(f"registry.example.com/team/{cpu.name}@sha256:")
    assert rows[False]["why"] == f"registry.example.com/team/{gpu.name} is not there"
    assert "1 image of 2 not signed as wanted" in run.err
    assert dlc("verify", cpu.name, *asked).code == 0


@pytest.mark.integration
@pytest.mark.usefixtures("there")
def test_a_plan_refuses_an_image_that_is_up_to_date_and_not_signed(
    cosign: Program, dlc: Dlc, targets: tuple[Target, ...]
) -> None:
    cpu, gpu = pair(targets)
    planned = [
        Planned(target=cpu, inputs=None, reasons=(), image=None),
        Planned(target=gpu, inputs=None, reasons=("no image is there",), image=None),
    ]
    cosign.patch.setattr(Comparison, "plan", lambda *_: planned)
    asked = ("--registry", "registry.example.com", "--key", str(cosign.folder / "ours.pub"))
    assert dlc("plan", "--require-signed", *asked).code == 0
    cosign.fails("verify", "Error: no signatures found")
    run = dlc("plan", "--require-signed", *asked)
    assert run.code == 20
    assert "1 image of 1 not signed as wanted" in run.err
    assert dlc("plan", "--require-signed", "--key", "x").code == 2
    assert dlc("plan", *asked).code == 2
