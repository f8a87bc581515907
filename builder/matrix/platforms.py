"""The platforms that images are for, by the names that BuildKit has for them."""

from __future__ import annotations

from collections.abc import Mapping

from builder.util.frozen import frozen

__all__ = ["DEFAULT", "PLATFORMS", "Platform"]


@frozen
class Platform:
    """An operating system and a processor architecture.

    `architecture` is what Debian and OCI call it, `machine` what the kernel and wheels do. `wheels`
    are those that glibc 2.28 and older distributions can load, as uv names them; Ubuntu 18.04 has
    2.27, and no wheel of its time asks for more. `label` is the end of AWS's label for it, `suffix`
    what ends the tags of its images.
    """

    architecture: str
    machine: str
    label: str
    suffix: str = ""

    @property
    def wheels(self) -> str:
        """What uv calls the platform of its wheels."""
        return f"{self.machine}-manylinux_2_28"


DEFAULT = "linux/amd64"
# Tags of the default platform are those of the official images, which say no platform.
PLATFORMS: Mapping[str, Platform] = {
    DEFAULT: Platform(architecture="amd64", machine="x86_64", label="x86"),
    "linux/arm64": Platform(architecture="arm64", machine="aarch64", label="arm64", suffix="arm64"),
}
