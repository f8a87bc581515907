"""Image URIs: `{account}.dkr.ecr.{region}.{dns suffix}/{repository}:{tag}`, both ways.

registries.json holds the account and DNS suffix of every region that AWS publishes official
images in, taken from the SageMaker SDK's image_uri_config and its ALTERNATE_DOMAINS.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import cache

from builder.errors import RegionError, TagError
from builder.matrix.tags import Repository, Tag, parse_repository, parse_tag
from builder.util.package import PACKAGE
from builder.util.text import did_you_mean

__all__ = ["ImageUri", "check_region", "parse_uri", "regions", "registry_host"]

# Partitions name their regions by prefix; commercial regions and us-gov share amazonaws.com.
_SUFFIXES = {
    "cn-": "amazonaws.com.cn",
    "us-iso-": "c2s.ic.gov",
    "us-isob-": "sc2s.sgov.gov",
    "us-isof-": "csp.hci.ic.gov",
    "eu-isoe-": "cloud.adc-e.uk",
    "eusc-": "amazonaws.eu",
}
_REGION = re.compile(r"[a-z]{2,4}(-[a-z]+)+-[0-9]{1,2}")
_URI = re.compile(
    r"(?P<account>[0-9]{12})\.dkr\.ecr\.(?P<region>[a-z0-9-]+)\.(?P<suffix>[a-z0-9.-]+)"
    r"/(?P<repository>[^:/]+):(?P<tag>[^:/@]+)"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageUri:
    """An image in ECR."""

    account: str
    region: str
    repository: Repository
    tag: Tag

    def __str__(self) -> str:
        return f"{registry_host(self.region, self.account)}/{self.repository}:{self.tag}"


@cache
def regions() -> dict[str, dict[str, str]]:
    """Every region with official images: its `account` (twelve digits) and `dns_suffix`."""
    text = (PACKAGE / "registries.json").read_text("utf-8")
    found: dict[str, dict[str, str]] = json.loads(text)["regions"]
    return found


def registry_host(region: str, account: str | None = None) -> str:
    """The registry of an account in a region; by default the official account of that region.

    A region without official images needs an account of one's own. RegionError otherwise.
    """
    known = regions().get(region)
    if account is not None and not re.fullmatch(r"[0-9]{12}", account):
        raise RegionError(f"{account!r} is not an AWS account", remedy="it has twelve digits")
    if known is None and (account is None or not _REGION.fullmatch(region)):
        raise RegionError(
            f"{region!r} is not a region with official images",
            remedy=did_you_mean(region, regions()),
        )
    suffix = known["dns_suffix"] if known else _suffix(region)
    return f"{account or (known or {})['account']}.dkr.ecr.{region}.{suffix}"


def check_region(region: str) -> None:
    """RegionError for what cannot be the name of a region; it need not have official images.

    >>> check_region("eu-west-1")
    """
    if region not in regions() and not _REGION.fullmatch(region):
        raise RegionError(
            f"{region!r} is not a region of AWS", remedy=did_you_mean(region, regions())
        )


def parse_uri(text: str) -> ImageUri:
    """Read an image URI; TagError if it is none, or if its DNS suffix is not its region's."""
    match = _URI.fullmatch(text)
    if not match:
        raise TagError(
            f"{text!r} is not an image URI",
            remedy="it looks like ACCOUNT.dkr.ecr.REGION.amazonaws.com/REPOSITORY:TAG",
        )
    uri = ImageUri(
        account=match["account"],
        region=match["region"],
        repository=parse_repository(match["repository"]),
        tag=parse_tag(match["tag"]),
    )
    host = registry_host(uri.region, uri.account)
    if not host.endswith(f".{match['region']}.{match['suffix']}"):
        raise TagError(f"{text!r} has the wrong DNS suffix", remedy=f"the host is {host}")
    return uri


def _suffix(region: str) -> str:
    return next(
        (suffix for prefix, suffix in _SUFFIXES.items() if region.startswith(prefix)),
        "amazonaws.com",
    )
