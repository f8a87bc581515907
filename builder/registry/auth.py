"""Who we are to a registry: what Docker's configuration and its credential helpers know."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from builder.errors import RegistryError

__all__ = ["Login", "Logins", "of_docker"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Login:
    """A user and a password, or a token of identity in their place; never shown in a message."""

    user: str = ""
    password: str = field(default="", repr=False)
    identity_token: str = field(default="", repr=False)

    def engine(self) -> dict[str, str]:
        """The same as the engine wants it with a request."""
        if self.identity_token:
            return {"identitytoken": self.identity_token}
        return {"username": self.user, "password": self.password}


# What finds the login for a host. It is asked again whenever a registry no longer takes the last.
Logins = Callable[[str], Login | None]


def of_docker(host: str) -> Login | None:
    """The login that `docker login` left for a registry; None if there is none.

    RegistryError if a credential helper that the configuration names does not work.
    """
    import warnings

    from docker.auth import load_config  # takes a sixth of a second
    from docker.errors import DockerException

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a helper that is missing is an error soon enough
            found = load_config().resolve_authconfig(host) or {}
    except DockerException as error:
        raise RegistryError(
            f"Docker's credentials for {host} cannot be read: {error}",
            remedy="fix the Docker configuration, or its credential helper",
        ) from error
    # Docker's helpers write the keys with capitals, its file without.
    fields = {key.lower(): value for key, value in found.items() if isinstance(value, str)}
    if token := fields.get("identitytoken"):
        return Login(identity_token=token)
    if fields.get("username") and fields.get("password"):
        return Login(user=fields["username"], password=fields["password"])
    return None
