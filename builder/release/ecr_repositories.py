"""Repositories in Amazon ECR as the matrix wants them: what differs, and how to change it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from builder.errors import RegistryError
from builder.registry.ecr import ecr_client
from builder.release.tags import MAJORS

__all__ = ["Change", "DesiredRepository", "apply", "changes", "wanted"]

# ECR takes five of them at most, each with two asterisks at most.
_FIXED = ("key-*", *(f"*-v{major}.*" for major in MAJORS))
_PULL = (
    "ecr:BatchCheckLayerAvailability",
    "ecr:BatchGetImage",
    "ecr:GetDownloadUrlForLayer",
)
# Text and lists that mean the same are compared as one: ECR gives back the shorter.
_LISTS = frozenset({"AWS", "Action"})


@dataclass(frozen=True, kw_only=True, slots=True)
class DesiredRepository:
    """A repository as it is to be; `policy` is None where nobody said who may pull."""

    name: str
    mutability: Mapping[str, Any]
    scan: bool
    lifecycle: Mapping[str, Any]
    policy: Mapping[str, Any] | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """One thing that is not as wanted: `what` of a repository; values as ECR has them."""

    repository: str
    what: str
    before: Any
    after: Any


def wanted(
    names: Sequence[str],
    *,
    keeps: str,
    untagged_days: int,
    readers: Sequence[str],
    partition: str = "aws",
) -> list[DesiredRepository]:
    """Repositories that keep tags, and let the accounts `readers` pull.

    `keeps` is releases, all or none.

    An image that lost its last tag goes after `untagged_days` days. One that an index names has no
    tag of its own, and ECR keeps it as long as the index.
    """
    mutability: dict[str, Any] = {
        "imageTagMutability": "IMMUTABLE" if keeps == "all" else "MUTABLE"
    }
    if keeps == "releases":
        filters = [{"filterType": "WILDCARD", "filter": each} for each in _FIXED]
        mutability = {
            "imageTagMutability": "MUTABLE_WITH_EXCLUSION",
            "imageTagMutabilityExclusionFilters": filters,
        }
    lifecycle = {
        "rules": [
            {
                "rulePriority": 1,
                "description": "what a moved tag or a push that broke off left behind",
                "selection": {
                    "tagStatus": "untagged",
                    "countType": "sinceImagePushed",
                    "countUnit": "days",
                    "countNumber": untagged_days,
                },
                "action": {"type": "expire"},
            }
        ]
    }
    policy = None
    if readers:
        roots = [f"arn:{partition}:iam::{account}:root" for account in readers]
        statement = {"Sid": "Pull", "Effect": "Allow", "Principal": {"AWS": roots}}
        policy = {"Version": "2012-10-17", "Statement": [{**statement, "Action": list(_PULL)}]}
    return [
        DesiredRepository(
            name=name, mutability=mutability, scan=True, lifecycle=lifecycle, policy=policy
        )
        for name in sorted(set(names))
    ]


class Ecr:
    """ECR of one account and region; RegistryError for whatever AWS refuses."""

    def __init__(self, region: str, account: str | None) -> None:
        self._client = ecr_client(region)
        self._registry = {"registryId": account} if account else {}
        self.partition = str(self._client.meta.partition)

    def describe(self, name: str) -> Mapping[str, Any] | None:
        """A repository as ECR describes it; None if there is none."""
        answer = self._ask("describe_repositories", "RepositoryNotFound", repositoryNames=[name])
        if answer is None:
            return None
        found: Mapping[str, Any] = answer["repositories"][0]
        return found

    def lifecycle(self, name: str) -> Any:
        """The lifecycle policy of a repository; None without one."""
        answer = self._ask("get_lifecycle_policy", "LifecyclePolicyNotFound", repositoryName=name)
        return answer and json.loads(answer["lifecyclePolicyText"])

    def policy(self, name: str) -> Any:
        """The policy of a repository; None without one."""
        answer = self._ask("get_repository_policy", "RepositoryPolicyNotFound", repositoryName=name)
        return answer and json.loads(answer["policyText"])

    def change(self, verb: str, name: str, **values: Any) -> None:
        """Call one of ECR's verbs for a repository."""
        self._ask(verb, "", repositoryName=name, **values)

    def _ask(self, verb: str, missing: str, **values: Any) -> Any:
        from botocore.exceptions import ClientError

        with _refused():
            try:
                return getattr(self._client, verb)(**self._registry, **values)
            except ClientError as error:
                if missing and error.response["Error"]["Code"] == f"{missing}Exception":
                    return None
                raise


def changes(ecr: Ecr, repositories: Sequence[DesiredRepository]) -> Iterator[Change]:
    """What is not as wanted, in the order in which it must be changed."""
    for each in repositories:
        there = ecr.describe(each.name)
        if there is None:
            yield Change(repository=each.name, what="repository", before=None, after="exists")
        found = there or {}
        scan = (found.get("imageScanningConfiguration") or {}).get("scanOnPush")
        keys = ("imageTagMutability", "imageTagMutabilityExclusionFilters")
        mutability = {key: found[key] for key in keys if found.get(key)}
        pairs = [
            ("tags", mutability or None, each.mutability),
            ("scan on push", scan, each.scan),
            ("lifecycle", ecr.lifecycle(each.name) if there else None, each.lifecycle),
        ]
        if each.policy is not None:
            pairs.append(("policy", ecr.policy(each.name) if there else None, each.policy))
        for what, before, after in pairs:
            if _plain(before) != _plain(after):
                yield Change(repository=each.name, what=what, before=before, after=after)


def apply(ecr: Ecr, found: Sequence[Change], report: Callable[[Change], None]) -> None:
    """Make changes, and tell of each that was made."""
    new = {each.repository for each in found if each.what == "repository"}
    settled = {
        name: {each.what: each.after for each in found if each.repository == name} for name in new
    }
    for each in found:
        name, after = each.repository, each.after
        if each.what == "repository":
            scanning = {"scanOnPush": settled[name]["scan on push"]}
            ecr.change(
                "create_repository",
                name,
                imageScanningConfiguration=scanning,
                **settled[name]["tags"],
            )
        elif each.what == "tags" and name not in new:
            ecr.change("put_image_tag_mutability", name, **after)
        elif each.what == "scan on push" and name not in new:
            scanning = {"scanOnPush": after}
            ecr.change(
                "put_image_scanning_configuration", name, imageScanningConfiguration=scanning
            )
        elif each.what == "lifecycle":
            ecr.change("put_lifecycle_policy", name, lifecyclePolicyText=json.dumps(after))
        elif each.what == "policy":
            ecr.change("set_repository_policy", name, policyText=json.dumps(after))
        report(each)


def _plain(value: Any, key: str = "") -> Any:
    """A value such that two that mean the same are equal.

    >>> _plain({"AWS": "b"}) == _plain({"AWS": ["b"]})
    True
    """
    if isinstance(value, Mapping):
        return {name: _plain(each, name) for name, each in value.items()}
    if key in _LISTS:
        return sorted([value] if isinstance(value, str) else value)
    if isinstance(value, list):
        plain = [_plain(each) for each in value]
        return sorted(plain, key=lambda each: json.dumps(each, sort_keys=True))
    return value


@contextmanager
def _refused() -> Iterator[None]:
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except ClientError as error:
        fault = error.response["Error"]
        raise RegistryError(
            f"ECR refuses {error.operation_name}: {fault.get('Message') or fault.get('Code')}",
            remedy="see that the credentials and the account are the right ones",
            code=str(fault.get("Code", "")),
        ) from error
    except BotoCoreError as error:
        raise RegistryError(
            f"ECR: {error}", remedy="set AWS credentials and a region, then try again"
        ) from error
