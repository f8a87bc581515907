"""Several targets resolved at a time, and what the locks of others then are to theirs."""

from __future__ import annotations

import sysconfig
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from builder.errors import DlcError
from builder.locks.committed import Committed
from builder.locks.freshness import layers
from builder.locks.lockfile import Lock
from builder.locks.resolve import Resolver
from builder.matrix.target import Target

__all__ = ["differs", "resolved"]

# uv mostly waits for the index.
_AT_ONCE = 4


def resolved(
    resolver: Resolver, targets: Sequence[Target]
) -> Iterator[tuple[Target, tuple[Lock, ...] | DlcError]]:
    """Locks, or why there are none, in the order of the targets."""

    def lock(target: Target) -> tuple[Lock, ...] | DlcError:
        try:
            return resolver.lock(target)
        except DlcError as error:
            return error

    # Python's own settings, by which uv is found, are not read safely by several threads at once.
    sysconfig.get_config_vars()
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        try:
            # The latest first: what had no wheel until then had none on any day before.
            ordered = sorted(targets, key=lambda target: target.date, reverse=True)
            locked = {target.name: pool.submit(lock, target) for target in ordered}
            for target in targets:
                yield target, locked[target.name].result()
        finally:
            pool.shutdown(cancel_futures=True)


def differs(target: Target, committed: Committed, changed: Mapping[tuple[str, str], Lock]) -> bool:
    """Whether a target has another lock of a layer than one that was now made from the same.

    Those that changed are by layer and digest of what they were resolved from.
    """
    owns = (committed.own(layer, target) for layer in layers(target))
    return any(own and own != changed.get((own.layer, own.inputs), own) for own in owns)
