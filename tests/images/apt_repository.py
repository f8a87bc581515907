"""Signed apt repositories of empty packages, laid out as NVIDIA's and Neuron's are."""

from __future__ import annotations

import hashlib
import os
import subprocess
from collections.abc import Iterable, Sequence
from datetime import datetime, timezone
from pathlib import Path

__all__ = ["Keyring", "cuda", "neuron"]

_CONTROL = """\
Package: {name}
Version: {version}
Architecture: amd64
Maintainer: Tests <tests@example.com>
Description: an empty package
"""


class Keyring:
    """Signing keys, in a folder of their own."""

    def __init__(self, home: Path) -> None:
        self._home = home
        home.chmod(0o700)

    def make(self, owner: str) -> str:
        """Make a key; its fingerprint."""
        self._gpg("--quick-generate-key", owner, "ed25519", "sign", "never")
        listed = self._gpg("--list-keys", "--with-colons", f"={owner}").decode()
        [line] = [line for line in listed.splitlines() if line.startswith("fpr:")]
        return line.split(":")[9]

    def export(self, *fingerprints: str) -> bytes:
        """Public keys, as text."""
        return self._gpg("--armor", "--export", *fingerprints)

    def sign(self, path: Path, signed: Path, fingerprint: str) -> None:
        """Write a file with its signature around it."""
        self._gpg("--local-user", fingerprint, "--output", str(signed), "--clearsign", str(path))

    def close(self) -> None:
        """End the agent that gpg started."""
        subprocess.run(["gpgconf", "--homedir", str(self._home), "--kill", "all"], check=True)

    def _gpg(self, *arguments: str) -> bytes:
        unattended = ("--batch", "--quiet", "--pinentry-mode", "loopback", "--passphrase", "")
        return subprocess.check_output(
            ["gpg", "--homedir", str(self._home), *unattended, *arguments]
        )


def cuda(
    root: Path,
    *,
    base: str,
    pins: Iterable[str],
    keys: Sequence[str],
    signer: str,
    keyring: Keyring,
) -> None:
    """NVIDIA's repository for a base: all of it in one folder."""
    folder = root / base.replace(".", "") / "x86_64"
    folder.mkdir(parents=True)
    (folder / "3bf863cc.pub").write_bytes(keyring.export(*keys))
    _packages(folder, pins, below=folder, index=folder)
    _release(folder, ["Packages"], {}, signer, keyring)


def neuron(
    root: Path,
    *,
    suite: str,
    pins: Iterable[str],
    keys: Sequence[str],
    signer: str,
    keyring: Keyring,
) -> None:
    """Neuron's repository: a pool, and a suite with one component."""
    pool, dist = root / "pool", root / "dists" / suite
    index = dist / "main/binary-amd64"
    for folder in (pool, index):
        folder.mkdir(parents=True)
    (root / "GPG-PUB-KEY-AMAZON-AWS-NEURON.PUB").write_bytes(keyring.export(*keys))
    _packages(pool, pins, below=root, index=index)
    fields = {"Codename": suite, "Components": "main", "Architectures": "amd64"}
    _release(dist, ["main/binary-amd64/Packages"], fields, signer, keyring)


def _packages(pool: Path, pins: Iterable[str], *, below: Path, index: Path) -> None:
    """Put a package for every `name=version` into the pool, and what apt reads of them."""
    entries = []
    for pin in pins:
        name, _, version = pin.partition("=")
        control = _CONTROL.format(name=name, version=version)
        path = _deb(pool, name, version, control)
        content = path.read_bytes()
        entries.append(
            f"{control}"
            f"Filename: {path.relative_to(below)}\n"
            f"Size: {len(content)}\n"
            f"SHA256: {hashlib.sha256(content).hexdigest()}\n"
        )
    (index / "Packages").write_text("\n".join(entries), "utf-8")


def _deb(pool: Path, name: str, version: str, control: str) -> Path:
    tree = pool / "tree"
    (tree / "DEBIAN").mkdir(parents=True)
    (tree / "DEBIAN/control").write_text(control, "utf-8")
    path = pool / f"{name}_{version}_amd64.deb"
    subprocess.run(
        ["dpkg-deb", "--root-owner-group", "--build", str(tree), str(path)],
        check=True,
        stdout=subprocess.DEVNULL,
        env={**os.environ, "SOURCE_DATE_EPOCH": "1577836800"},
    )
    (tree / "DEBIAN/control").unlink()
    (tree / "DEBIAN").rmdir()
    tree.rmdir()
    return path


def _release(
    folder: Path, indexes: Iterable[str], fields: dict[str, str], signer: str, keyring: Keyring
) -> None:
    now = datetime.now(tz=timezone.utc)
    lines = [f"Date: {now:%a, %d %b %Y %H:%M:%S} UTC"]
    lines += [f"{name}: {value}" for name, value in fields.items()]
    lines.append("SHA256:")
    for index in indexes:
        content = (folder / index).read_bytes()
        lines.append(f" {hashlib.sha256(content).hexdigest()} {len(content)} {index}")
    release = folder / "Release"
    release.write_text("\n".join(lines) + "\n", "utf-8")
    keyring.sign(release, folder / "InRelease", signer)
    release.unlink()
