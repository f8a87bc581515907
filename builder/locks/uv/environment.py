"""The environment that uv resolves in: where and how to download comes from the caller, not more.

What would say which versions to choose comes from the matrix alone, so that a lock is the same
whoever makes it. Configuration files (uv.toml, pyproject.toml) are not read, and uv never reads
pip's.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import unquote, urlsplit

from builder.matrix.mirrors import Mirrors
from builder.util.certificates import ca_bundle
from builder.util.memory import MemoryFiles

__all__ = ["INDEXES", "WHERE_AND_HOW", "index_logins", "passes", "uv_environment"]

INDEXES = ("UV_DEFAULT_INDEX", "UV_INDEX", "UV_INDEX_URL", "UV_EXTRA_INDEX_URL", "UV_FIND_LINKS")
# https://docs.astral.sh/uv/reference/environment/; a new one is refused until it stands here.
WHERE_AND_HOW = frozenset(
    {
        # the index and what stands beside it
        *INDEXES,
        # credentials
        *("NETRC", "UV_CREDENTIALS_DIR", "UV_KEYRING_PROVIDER", "XDG_DATA_HOME"),
        # certificates
        *("SSL_CERT_FILE", "SSL_CERT_DIR", "SSL_CLIENT_CERT"),
        *("UV_INSECURE_HOST", "UV_NATIVE_TLS", "UV_SYSTEM_CERTS"),
        # proxies
        *("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"),
        *("http_proxy", "https_proxy", "all_proxy", "no_proxy"),
        # how patiently, how many at a time, whether at all
        *("UV_HTTP_TIMEOUT", "UV_REQUEST_TIMEOUT", "UV_HTTP_CONNECT_TIMEOUT", "UV_HTTP_RETRIES"),
        *("UV_CONCURRENT_DOWNLOADS", "UV_OFFLINE"),
        # the cache
        *("UV_CACHE_DIR", "UV_NO_CACHE", "UV_LOCK_TIMEOUT", "XDG_CACHE_HOME"),
        # the machine
        *("HOME", "PATH", "LANG", "LC_ALL", "LC_CTYPE"),
    }
)
_INDEX_CREDENTIALS = re.compile(r"UV_INDEX_[A-Z0-9_]+_(?:USERNAME|PASSWORD)")
# uv's, pip's and Python's own variables choose; all others a keyring's helper may need.
_CHOOSES = re.compile(r"UV_|PIP_|PYTHON(?!_KEYRING)")


def passes(name: str) -> bool:
    """Whether a variable of the caller's environment goes through to uv.

    >>> [passes(name) for name in ("UV_INDEX_TEAM_PASSWORD", "UV_PRERELEASE", "UV_INDEX_STRATEGY")]
    [True, False, False]
    """
    return name in WHERE_AND_HOW or _INDEX_CREDENTIALS.fullmatch(name) is not None


def uv_environment(mirrors: Mirrors, folder: Path, files: MemoryFiles) -> dict[str, str]:
    """The environment for uv; what is only made for it lies in `folder`, secrets are `files`.

    The index and the credentials of the mirrors stand in for the caller's. Build code of packages
    cannot run in it. BuildError if certificates are named that are not there.
    """
    environment = {name: value for name, value in os.environ.items() if passes(name)}
    if bundle := ca_bundle():
        environment["SSL_CERT_FILE"] = str(bundle)
    if mirrors.index:
        environment.pop("UV_INDEX_URL", None)
        environment["UV_DEFAULT_INDEX"] = mirrors.index
    if mirrors.credentials:
        environment["NETRC"] = str(files.add("dlc-netrc", mirrors.credentials))
    if environment.get("UV_KEYRING_PROVIDER", "disabled") != "disabled":
        environment = {**_for_keyring(os.environ), **environment}
        if keyring := shutil.which("keyring"):
            helper = folder / "keyring"
            helper.write_text(f'#!/bin/sh\nunset PYTHONHOME\nexec "{keyring}" "$@"\n', "utf-8")
            helper.chmod(0o700)
            environment["PATH"] = f"{folder}{os.pathsep}{environment.get('PATH', os.defpath)}"
    # Python ends at once, before it runs anything of a package, where its own library is said to be
    # in a folder that is not there. uv asks interpreters about themselves in isolation (-I), which
    # is deaf to that.
    return {**environment, "TMPDIR": str(folder), "PYTHONHOME": str(folder / "no-python-runs")}


def index_logins(environment: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """The users and passwords that the addresses of indexes have, by host.

    >>> index_logins({"UV_INDEX": "team=https://i.example/simple", "UV_INDEX_TEAM_USERNAME": "me"})
    {'i.example': ('me', '')}
    """
    found = {}
    for variable in INDEXES:
        for text in environment.get(variable, "").split():
            named = re.fullmatch(r"(?:(?P<name>[\w-]+)=)?(?P<url>https?://.*)", text)
            if named is None:
                continue
            parts = urlsplit(named["url"])
            prefix = f"UV_INDEX_{re.sub('[^A-Z0-9]', '_', (named['name'] or '').upper())}"
            user = environment.get(f"{prefix}_USERNAME") or unquote(parts.username or "")
            password = environment.get(f"{prefix}_PASSWORD") or unquote(parts.password or "")
            if parts.hostname and (user or password):
                found[parts.hostname] = (user, password)
    return found


def _for_keyring(environment: Mapping[str, str]) -> dict[str, str]:
    """What a keyring's helper may read: everything that does not choose."""
    return {name: text for name, text in environment.items() if not _CHOOSES.match(name)}
