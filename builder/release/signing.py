"""Signatures and attestations of pushed images, made and verified by the machine's cosign.

Nothing is sent to a transparency log unless that is said: an entry of it, which everybody can read
for ever, has the registry's name and the image's digest. Keyless signatures need one.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from builder.errors import ArgumentError, PushError, SignatureError

__all__ = [
    "KEYLESS",
    "KINDS",
    "PROVENANCE",
    "SPDX",
    "TEST_RESULT",
    "Cosign",
    "Signer",
    "Verifier",
    "find_cosign",
    "signer_of",
    "verifier_of",
]

KEYLESS = "keyless"
SPDX, PROVENANCE = "spdxjson", "slsaprovenance"  # cosign's names of these types of predicates
TEST_RESULT = "https://in-toto.io/attestation/test-result/v0.1"
KINDS = (SPDX, PROVENANCE, TEST_RESULT)
_NAMES = {SPDX: "SPDX", PROVENANCE: "provenance", TEST_RESULT: "test result"}

_SECONDS = 180.0  # for one call of cosign, which asks a registry, and a KMS or a log
_INSTALL = "install cosign 2.5 or later: apt-get install cosign on Debian 13"


@dataclass(frozen=True, kw_only=True, slots=True)
class Cosign:
    """The program; `configured` if it is version 3, whose services a file of its own names."""

    program: str
    configured: bool

    def run(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        """Run it; PushError if it cannot be run or does not end.

        A key's password is COSIGN_PASSWORD, in the environment: it asks nobody.
        """
        command = [self.program, *map(str, arguments)]
        try:
            return subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=_SECONDS,
                check=False,
            )
        except OSError as error:
            raise PushError(f"cosign cannot be run: {error.strerror}", remedy=_INSTALL) from error
        except subprocess.TimeoutExpired:
            raise PushError(
                f"cosign {arguments[0]} did not end in {_SECONDS:.0f} s",
                remedy="see whether the registry, the key's service and the log answer",
            ) from None


def find_cosign() -> Cosign:
    """The machine's cosign; PushError without one."""
    program = shutil.which("cosign")
    if program is None:
        raise PushError("cosign is not installed", remedy=_INSTALL)
    cosign = Cosign(program=program, configured=False)
    help_text = cosign.run("sign", "--help").stdout
    return Cosign(program=program, configured="--signing-config" in help_text)


@dataclass(frozen=True, kw_only=True, slots=True)
class Signer:
    """Signs with a private key (a file, or a KMS's reference that cosign knows), or keyless."""

    cosign: Cosign
    key: str
    log: bool = False

    def __post_init__(self) -> None:
        if self.key != KEYLESS:
            _check_key(self.key, "--sign")

    def sign(self, reference: str) -> None:
        """Sign what NAME@DIGEST is; PushError if that fails."""
        self._run("sign", reference)

    def attest(self, reference: str, kind: str, predicate: Mapping[str, Any]) -> None:
        """Sign a statement about NAME@DIGEST, which replaces one of its kind; or PushError."""
        with tempfile.NamedTemporaryFile("w", suffix=".json", encoding="utf-8") as file:
            json.dump(predicate, file)
            file.flush()
            more = () if self.cosign.configured else ("--replace",)
            self._run("attest", "--type", kind, "--predicate", file.name, *more, reference)

    def _run(self, verb: str, *arguments: str) -> None:
        done = self.cosign.run(verb, "--yes", *self._how(), *arguments)
        if done.returncode:
            locked = "COSIGN_PASSWORD" not in os.environ and os.path.isfile(self.key)  # noqa: PTH113
            raise PushError(
                f"{arguments[-1]} was pushed, but not signed: cosign says: {_last_words(done)}",
                remedy="set COSIGN_PASSWORD to the key's password, and push again"
                if locked
                else "mend that, and push again: nothing is uploaded twice",
            )

    def _how(self) -> Sequence[str]:
        if self.key == KEYLESS:
            return ()
        if self.log:
            # Version 3 reads from a list of services, which it fetches, which log there is.
            return (f"--key={self.key}",)
        quiet = ("--use-signing-config=false",) if self.cosign.configured else ()
        return (f"--key={self.key}", *quiet, "--tlog-upload=false")


def signer_of(key: str | None, *, log: bool) -> Signer | None:
    """What signs with a key, if one is named; ArgumentError or PushError if it cannot."""
    if key is None:
        if log:
            raise ArgumentError("nothing is signed", remedy="give --sign, too")
        return None
    return Signer(cosign=find_cosign(), key=key, log=log)


@dataclass(frozen=True, kw_only=True, slots=True)
class Verifier:
    """Verifies by a public key (a file or a KMS's reference), or by who signed keyless.

    That is an identity, as in a certificate of Sigstore's, and the issuer who vouches for it.
    """

    cosign: Cosign
    key: str = ""
    identity: str = ""
    issuer: str = ""
    log: bool = False

    def __post_init__(self) -> None:
        if self.key:
            _check_key(self.key, "--key")
        if bool(self.key) == bool(self.identity) or bool(self.identity) != bool(self.issuer):
            raise ArgumentError(
                "nothing says whose signature is wanted, or too much does",
                remedy="give --key, or --identity and --issuer",
            )

    def verify(self, reference: str) -> tuple[str, ...]:
        """The names of the kinds of statements that are signed about NAME@DIGEST.

        SignatureError if it is not signed as wanted.
        """
        done = self.cosign.run("verify", *self._whose(), reference)
        if done.returncode:
            raise SignatureError(
                f"{reference} is not signed by {self._who}: cosign says: {_last_words(done)}",
                remedy="do not use it; sign what you built yourself: dlc push --sign",
            )
        found = (
            kind
            for kind in KINDS
            if not self.cosign.run(
                "verify-attestation", "--type", kind, *self._whose(), reference
            ).returncode
        )
        return tuple(_NAMES[kind] for kind in found)

    @property
    def _who(self) -> str:
        return self.key or self.identity

    def _whose(self) -> Sequence[str]:
        if self.key:
            return (f"--key={self.key}", *(() if self.log else ("--insecure-ignore-tlog=true",)))
        return (
            f"--certificate-identity={self.identity}",
            f"--certificate-oidc-issuer={self.issuer}",
        )


def verifier_of(*, key: str, identity: str, issuer: str, log: bool) -> Verifier:
    """What verifies; ArgumentError or PushError if it cannot."""
    return Verifier(cosign=find_cosign(), key=key, identity=identity, issuer=issuer, log=log)


def _check_key(key: str, option: str) -> None:
    """ArgumentError unless a key is a file or looks like a reference of cosign's."""
    if "://" not in key and not key.startswith("pkcs11:") and not Path(key).is_file():
        raise ArgumentError(
            f"{option}: there is no file {key}",
            remedy="name a key's file, or a KMS's reference like awskms:///alias/release",
        )


def _last_words(done: subprocess.CompletedProcess[str]) -> str:
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("Error: ")] or lines or ["nothing"]
    line = errors[-1].removeprefix("Error: ").strip()
    text = "".join(each if each.isprintable() else "?" for each in line)  # a registry's words, too
    return text if len(text) <= 300 else f"{text[:299]}…"
