"""What a build is told and no layer keeps: certificates, mirrors and their credentials."""

from __future__ import annotations

from pathlib import Path

from builder.errors import BuildError
from builder.matrix.mirrors import Mirrors, script
from builder.util import atomic, certificates
from builder.util.memory import MemoryFiles

__all__ = ["build_secrets", "certificates_secret", "site_script", "write_secret"]

# BuildKit refuses larger secrets (moby/buildkit session/secrets, MaxSecretSize).
_SECRET_BYTES = 500 * 1024


def build_secrets(mirrors: Mirrors, files: MemoryFiles) -> dict[str, Path]:
    """The secrets of a build by id; what is only made for it is among `files`."""
    bundle = certificates_secret()
    secrets = {"ca-bundle": bundle} if bundle else {}
    if site := site_script(mirrors):
        secrets["site"] = files.add("dlc-site", site)
    return secrets


def certificates_secret() -> Path | None:
    """The caller's certificates as a build secret; None without any.

    BuildError if the file is missing or larger than BuildKit's secrets may be.
    """
    path = certificates.ca_bundle()
    if path and path.stat().st_size > _SECRET_BYTES:
        raise BuildError(
            f"{path} is larger than a build secret may be ({_SECRET_BYTES // 1024} KiB)",
            remedy=f"point {certificates.variable()} at a bundle with the certificates that you "
            "need",
        )
    return path


def site_script(mirrors: Mirrors) -> str:
    """The build secret `site`: mirrors, with the caller's certificates; empty without mirrors.

    BuildError if it is larger than BuildKit's secrets may be.
    """
    bundle = certificates_secret()
    text = script(mirrors, bundle.read_text("utf-8") if bundle else "")
    if len(text.encode()) > _SECRET_BYTES:
        raise BuildError(
            f"the mirrors and certificates are larger than a build secret may be "
            f"({_SECRET_BYTES // 1024} KiB)",
            remedy="name a bundle with only the certificates that you need",
        )
    return text


def write_secret(path: Path, text: str) -> None:
    """Write a file that only its owner can read; one that is there is replaced."""
    path.unlink(missing_ok=True)
    atomic.write(path, text, mode=0o600)
