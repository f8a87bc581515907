"""Amazon ECR as a registry to push to: who we are there, and which tags it keeps.

boto3 is in the extra `aws`, and loaded only where an address is one of ECR's.
"""

from __future__ import annotations

import base64
import fnmatch
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from builder.errors import RegionError, RegistryError
from builder.registry.auth import Login, Logins, of_docker

__all__ = ["EcrHost", "ecr_client", "ecr_host", "keeper", "login", "logins"]

_HOST = re.compile(r"(?P<account>\d{12})\.dkr\.ecr(?:-fips)?\.(?P<region>[a-z0-9-]+)\..+")


@dataclass(frozen=True, kw_only=True, slots=True)
class EcrHost:
    """Whose registry an address is."""

    account: str
    region: str


def ecr_host(host: str) -> EcrHost | None:
    """The account and region of an address of ECR's; None for any other.

    >>> ecr_host("123456789012.dkr.ecr.eu-west-1.amazonaws.com")
    EcrHost(account='123456789012', region='eu-west-1')
    >>> ecr_host("123456789012.dkr.ecr.eu-west-1.example.com")
    """
    from builder.matrix.uris import registry_host

    match = _HOST.fullmatch(host)
    if match is None:
        return None
    account, region = match["account"], match["region"]
    # AWS's own domain and no other: what it gives would go there.
    with suppress(RegionError):
        if registry_host(region, account) == host.replace("ecr-fips.", "ecr."):
            return EcrHost(account=account, region=region)
    return None


def ecr_client(region: str) -> Any:
    """A client of ECR's own interface.

    RegionError if no region has such a name, RegistryError without boto3 or if AWS's settings are
    not sound: a profile, an endpoint, half of a key.
    """
    from builder.matrix.uris import check_region

    check_region(region)
    try:
        import boto3
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError
    except ImportError as error:
        raise RegistryError(
            "ECR needs boto3, which is not installed", remedy="pip install 'dlc-builder[aws]'"
        ) from error
    config = Config(region_name=region, retries={"mode": "standard", "max_attempts": 6})
    try:
        return boto3.client("ecr", config=config)
    except (BotoCoreError, ValueError) as error:  # an endpoint that is none is a ValueError
        raise RegistryError(
            f"invalid AWS configuration: {error}",
            remedy="fix the AWS_ variables or the files of `aws configure`",
        ) from error


def login(host: EcrHost) -> Login:
    """A login that AWS's own credentials buy; it is good for twelve hours."""
    client = ecr_client(host.region)  # first, as it tells that boto3 is missing
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        data = client.get_authorization_token(registryIds=[host.account])["authorizationData"]
        user, _, password = base64.b64decode(data[0]["authorizationToken"]).decode().partition(":")
    except (BotoCoreError, ClientError, LookupError, ValueError) as error:
        raise RegistryError(
            f"AWS gives no login for the registry of {host.account} in {host.region}: {error}",
            remedy="set AWS credentials that may ecr:GetAuthorizationToken, or use `docker login`",
        ) from error
    return Login(user=user, password=password)


def logins(docker: Logins = of_docker) -> Logins:
    """Docker's own logins, and for ECR, where Docker has none, one that boto3 gets.

    A new one is got each time that one is asked for, which is also when one ran out.
    """

    def find(host: str) -> Login | None:
        known = docker(host)
        found = ecr_host(host)
        if known is not None or found is None:
            return known
        return login(found)

    return find


def keeper(host: str) -> Callable[[str, str], bool]:
    """What tells whether a repository in ECR keeps a tag that is there.

    For registries that cannot be asked it says no: they refuse when it comes to it.
    """
    found = ecr_host(host)
    known: dict[str, Callable[[str], bool]] = {}

    def keeps(repository: str, tag: str) -> bool:
        if found is None:
            return False
        if repository not in known:
            known[repository] = _rule(found, repository)
        return known[repository](tag)

    return keeps


def _rule(host: EcrHost, repository: str) -> Callable[[str], bool]:
    try:
        from botocore.exceptions import BotoCoreError, ClientError

        client = ecr_client(host.region)
        answer = client.describe_repositories(registryId=host.account, repositoryNames=[repository])
    except (ImportError, RegistryError):
        return lambda _tag: False
    except (BotoCoreError, ClientError):  # who may push need not be allowed to ask
        return lambda _tag: False
    return mutability(answer["repositories"][0])


def mutability(repository: Mapping[str, Any]) -> Callable[[str], bool]:
    """What tells whether a repository, as ECR describes it, keeps a tag.

    >>> keeps = mutability({"imageTagMutability": "MUTABLE_WITH_EXCLUSION",
    ...     "imageTagMutabilityExclusionFilters": [{"filterType": "WILDCARD", "filter": "key-*"}]})
    >>> keeps("key-1"), keeps("latest")
    (True, False)
    """
    kind = str(repository.get("imageTagMutability", "MUTABLE"))
    filters = [
        re.compile(fnmatch.translate(each["filter"].replace("[", "[[]").replace("?", "[?]")))
        for each in repository.get("imageTagMutabilityExclusionFilters") or ()
    ]

    def keeps(tag: str) -> bool:
        excluded = any(each.match(tag) for each in filters)
        return kind.startswith("IMMUTABLE") != excluded

    return keeps
