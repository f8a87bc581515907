"""How much the container has, of memory and processors, and what the server may take for requests.

Java's own default is a quarter of the host's memory, whatever the container's limit is. Here its
heap follows from how many bytes of requests dlc_front lets it have at once.

Standard library only, Python 3.6 and later: this file is the same in every image.
"""

import contextlib
import functools
import math
import os

CGROUP = "/sys/fs/cgroup"
MEBIBYTE = 1 << 20
BODY_BYTES = 6553500  # multi-model-server's own default for requests and answers
# Of requests, Java holds so many copies: those on its heap, and those in buffers beside it.
ON_HEAP, BESIDE = 3, 6
JAVA_MEBIBYTES = 96  # what it needs with no request at all
FIRST_MEBIBYTES = 16  # of its heap, which grows


def memory_limit():
    """The bytes that this container may use: its limit, or what the host has."""
    found = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for name in ("memory.max", "memory/memory.limit_in_bytes"):  # cgroup 2 and 1
        with contextlib.suppress(OSError, ValueError):  # no limit is "max" there, a huge one here
            found.append(int(read(name)))
    return min(found)


def kills_for_memory():
    """How many processes of this container the kernel has killed for memory, if that is told."""
    for name in ("memory.events", "memory/memory.oom_control"):
        with contextlib.suppress(OSError, ValueError):
            for line in read(name).splitlines():
                word, _, number = line.partition(" ")
                if word == "oom_kill":
                    return int(number)
    return 0


def read(name):
    with open(os.path.join(CGROUP, name)) as file:
        return file.read()


def processors():
    """How many this container may use at once: those that it sees, and its quota of time."""
    count = len(os.sched_getaffinity(0))
    for quota, period in (
        ("cpu.max", None),  # cgroup 2: both in one file
        ("cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us"),
    ):
        with contextlib.suppress(OSError, ValueError, IndexError):
            words = read(quota).split()
            words += read(period).split() if period else []
            share = int(words[0]) / int(words[1])
            if share > 0:
                count = min(count, max(1, math.ceil(share)))
    return count


def set_size(environment, names):
    """The size in bytes that the first of some variables sets, or nothing."""
    for name in names:
        factor = MEBIBYTE if name.endswith("_IN_MB") else 1
        with contextlib.suppress(ValueError):
            return int(float(environment.get(name, "")) * factor)
    return None


class Budget:
    """What of a limit goes to whom, in bytes.

    `request` and `answer` are the largest that are taken; `held` is what dlc_front may hold of
    requests and answers, and `java` what it passes on of them at once.
    """

    def __init__(self, environment, limit):
        wanted = set_size(environment, ("MMS_MAX_REQUEST_SIZE", "SAGEMAKER_MAX_PAYLOAD_IN_MB"))
        share = limit // 8
        self.wanted = wanted or BODY_BYTES
        self.request = min(self.wanted, share)
        self.answer = set_size(environment, ("MMS_MAX_RESPONSE_SIZE",)) or max(
            self.request, min(100 * MEBIBYTE, share)
        )
        self.held = max(self.request, min(share, 1024 * MEBIBYTE))
        self.java = max(self.request, min(limit // 64, 256 * MEBIBYTE))

    def vmargs(self):
        """Options of Java that keep it within."""
        most = self.java // MEBIBYTE + 1
        heap, beside = JAVA_MEBIBYTES + ON_HEAP * most, JAVA_MEBIBYTES + BESIDE * most
        # Without container support, as the toolkit starts it: it would count processors otherwise.
        # The collector, compiler and buffers of small programs: Java only passes requests on, and
        # its others take processors from the model, and memory that they do not give back.
        text = "-XX:-UseContainerSupport -XX:+UseSerialGC -XX:TieredStopAtLevel=1"
        text += " -Dio.netty.allocator.type=unpooled"
        text += " -Xms{}m -Xmx{}m -XX:MaxDirectMemorySize={}m"
        return text.format(FIRST_MEBIBYTES, heap, beside)


@functools.lru_cache(maxsize=None)
def most_answered():
    """The largest answer of this container, in bytes."""
    return budget(os.environ).answer


def budget(environment):
    return Budget(environment, memory_limit())
