"""mmdebstrap: the root file system of a distribution, as a stream."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from builder.engine import apt
from builder.matrix.platforms import DEFAULT, PLATFORMS

__all__ = ["EPOCH", "mmdebstrap", "remove"]

# 2020-01-01: what is newer in a tree gets this time, so that the same packages give the same
# layer. No earlier than 1980, which is where the times of zip files, thus of wheels, begin.
EPOCH = "1577836800"


@contextmanager
def mmdebstrap(
    suite: str, platform: str, *, scratch: Path, log: IO[bytes]
) -> Iterator[subprocess.Popen[bytes]]:
    """Run mmdebstrap with the tree's tar as its output; it has ended when this is left.

    Names no mirror, so mmdebstrap takes the archive's own and adds the suite's updates and
    security updates: they are in the tree and, as its apt sources, in what is built on it.
    """
    command = [
        # Its mounts and children go when it goes, however it ends: it would leave both behind.
        *("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"),
        "mmdebstrap",
        f"--architectures={PLATFORMS[platform].architecture}",
        # It would copy an emulator of Debian's into the tree; the kernel has it open already.
        *(() if platform == DEFAULT else ("--skip=check/qemu",)),
        "--variant=minbase",
        "--include=ca-certificates",
        # Merges /usr from the start, as the pulled image has it, without 50 MB of perl to do it.
        "--hook-dir=/usr/share/mmdebstrap/hooks/maybe-merged-usr",
        # Both are copies of this machine's; the engine gives containers their own.
        '--customize-hook=rm -f "$1/etc/resolv.conf" "$1/etc/hostname"',
        suite,
        "-",
    ]
    environment = {
        **os.environ,
        "PATH": apt.system_path(),
        "SOURCE_DATE_EPOCH": EPOCH,
        "TMPDIR": str(scratch),
    }
    with subprocess.Popen(
        command,
        env=environment,
        start_new_session=True,  # so that Ctrl-C reaches us alone, and the group can be ended
        stderr=log,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
    ) as child:
        try:
            yield child
        except BaseException:
            os.killpg(child.pid, signal.SIGKILL)
            raise


def remove(scratch: Path) -> None:
    """Remove a tree whose processes may still be ending, unless something is mounted in it."""
    deadline = time.monotonic() + 10
    while scratch.exists() and time.monotonic() < deadline:
        # What is mounted there may be the machine's own /dev.
        if f" {scratch}/" not in Path("/proc/self/mountinfo").read_text(encoding="utf-8"):
            shutil.rmtree(scratch, ignore_errors=True)
        time.sleep(0.05)
