"""Whether what a registry has under targets' names is signed as it must be."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from builder.errors import SignatureError
from builder.matrix.target import Target
from builder.registry.client import RegistryClient
from builder.registry.ecr import logins
from builder.registry.reference import parse_registry
from builder.release.signing import Verifier
from builder.util.text import counted

__all__ = ["Verified", "require", "verify_images"]

_AT_ONCE = 4  # calls of cosign


@dataclass(frozen=True, kw_only=True, slots=True)
class Verified:
    """A target's image in a registry: its name by tag and digest, and the statements about it.

    `problem` is why it does not hold, else empty.
    """

    target: Target
    reference: str
    statements: tuple[str, ...] = ()
    problem: str = ""


def verify_images(registry: str, targets: Sequence[Target], verifier: Verifier) -> list[Verified]:
    """Verify what HOST[:PORT]/PREFIX has under the targets' tags, by digest.

    RegistryError if it does not answer, ArgumentError if it is no registry's name, PushError
    without cosign.
    """
    place = parse_registry(registry)
    client = RegistryClient(place.host, logins=logins())

    def one(target: Target) -> Verified:
        repository = place.repository(target.repository)
        name = f"{place.host}/{repository}"
        manifest = client.manifest(repository, target.tag)
        if manifest is None:
            there = f"{name}:{target.tag}"
            return Verified(target=target, reference=there, problem=f"{there} is not there")
        reference = f"{name}:{target.tag}@{manifest.digest}"
        try:
            statements = verifier.verify(f"{name}@{manifest.digest}")
        except SignatureError as error:
            return Verified(target=target, reference=reference, problem=error.message)
        return Verified(target=target, reference=reference, statements=statements)

    with ThreadPoolExecutor(max_workers=_AT_ONCE) as pool:
        return list(pool.map(one, targets))


def require(found: Sequence[Verified]) -> None:
    """SignatureError if any of them does not hold; the first few are named."""
    wrong = [each.problem for each in found if each.problem]
    if not wrong:
        return
    few = wrong[:5] + ([f"and {len(wrong) - 5} more"] if len(wrong) > 5 else [])
    raise SignatureError(
        f"{counted(len(wrong), 'image')} of {len(found)} not signed as wanted:\n" + "\n".join(few),
        remedy="deploy none of these; push what you built with --sign",
    )
