"""Signed apt repositories, laid out as NVIDIA's and Neuron's are, of packages with next to nothing.

What a package holds is said as `files`: bytes by path, all of it executable."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path

__all__ = ["CUDA_KEY_FILE", "Keyring", "cuda", "cuda_keyring", "debian", "neuron"]

# Where NVIDIA's keyring package has the key.
CUDA_KEY_FILE = "usr/share/keyrings/cuda-archive-keyring.gpg"

_CONTROL = """\
Package: {name}
Version: {version}
Architecture: amd64
Maintainer: Tests <tests@example.com>
Description: a package of the tests
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

    def export(self, *fingerprints: str, armor: bool = True) -> bytes:
        """Public keys, as text unless told otherwise."""
        return self._gpg(*(["--armor"] if armor else []), "--export", *fingerprints)

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
    signer: str,
    keyring: Keyring,
) -> None:
    """NVIDIA's repository for a base: all of it in one folder."""
    folder = root / base.replace(".", "") / "x86_64"
    folder.mkdir(parents=True, exist_ok=True)
    _packages(folder, pins, {}, below=folder, index=folder)
    _release(folder, ["Packages"], {}, signer, keyring)


def cuda_keyring(path: Path, *, key: str, keyring: Keyring) -> str:
    """The package that a CUDA repository's key comes in; its SHA-256."""
    path.parent.mkdir(parents=True, exist_ok=True)
    files = {CUDA_KEY_FILE: keyring.export(key, armor=False)}
    control = _CONTROL.format(name="cuda-keyring", version="1.1-1")
    _deb(path.parent, "cuda-keyring", "1.1-1", control, files).rename(path)
    return hashlib.sha256(path.read_bytes()).hexdigest()


def neuron(
    root: Path,
    *,
    suite: str,
    pins: Iterable[str],
    keys: Sequence[str],
    signer: str,
    keyring: Keyring,
    files: Mapping[str, bytes],
) -> None:
    """Neuron's repository: a pool of packages with `files`, and a suite with one component."""
    pool, dist = root / "pool", root / "dists" / suite
    index = dist / "main/binary-amd64"
    for folder in (pool, index):
        folder.mkdir(parents=True, exist_ok=True)
    (root / "GPG-PUB-KEY-AMAZON-AWS-NEURON.PUB").write_bytes(keyring.export(*keys))
    _packages(pool, pins, files, below=root, index=index)
    fields = {"Codename": suite, "Components": "main", "Architectures": "amd64"}
    _release(dist, ["main/binary-amd64/Packages"], fields, signer, keyring)


def debian(root: Path, *, suite: str, pins: Iterable[str], signer: str, keyring: Keyring) -> None:
    """A suite of Debian's archive, with packages of its own."""
    pool, dist = root / "pool" / suite, root / "dists" / suite
    index = dist / "main/binary-amd64"
    for folder in (pool, index):
        folder.mkdir(parents=True)
    _packages(pool, pins, {}, below=root, index=index)
    fields = {"Codename": suite, "Components": "main", "Architectures": "amd64"}
    _release(dist, ["main/binary-amd64/Packages"], fields, signer, keyring)


def _packages(
    pool: Path, pins: Iterable[str], files: Mapping[str, bytes], *, below: Path, index: Path
) -> None:
    """Put a package for every `name=version` into the pool, and what apt reads of them."""
    entries = []
    for pin in pins:
        name, _, version = pin.partition("=")
        control = _CONTROL.format(name=name, version=version)
        path = _deb(pool, name, version, control, files)
        content = path.read_bytes()
        entries.append(
            f"{control}"
            f"Filename: {path.relative_to(below)}\n"
            f"Size: {len(content)}\n"
            f"SHA256: {hashlib.sha256(content).hexdigest()}\n"
        )
    (index / "Packages").write_text("\n".join(entries), "utf-8")


def _deb(pool: Path, name: str, version: str, control: str, files: Mapping[str, bytes]) -> Path:
    tree = pool / "tree"
    (tree / "DEBIAN").mkdir(parents=True)
    (tree / "DEBIAN/control").write_text(control, "utf-8")
    for file, content in files.items():
        (tree / file).parent.mkdir(parents=True, exist_ok=True)
        (tree / file).write_bytes(content)
        (tree / file).chmod(0o755)
    path = pool / f"{name}_{version}_amd64.deb"
    subprocess.run(
        ["dpkg-deb", "--root-owner-group", "--build", str(tree), str(path)],
        check=True,
        stdout=subprocess.DEVNULL,
        env={**os.environ, "SOURCE_DATE_EPOCH": "1577836800"},
    )
    shutil.rmtree(tree)
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
