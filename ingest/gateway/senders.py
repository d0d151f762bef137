"""Who sends a request: a back end by its API key, a player by its session's token, or nobody known.

Nothing that a report says about itself is looked at here.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address
from typing import TYPE_CHECKING

from ingest.gateway.keys import API_KEY_PREFIX
from ingest.gateway.problems import Problem, no_credentials
from ingest.gateway.sender_names import SENDER
from ingest.gateway.tokens import GRACE_S, TokenRefused, read_token

if TYPE_CHECKING:
    from starlette.requests import Request

    from ingest.gateway.keys import ApiKey, Keys
    from ingest.gateway.tokens import Binding


@dataclass(frozen=True, slots=True)
class Backend:
    """A sender with an API key. binding: of the viewer that it passes a report on for."""

    key: ApiKey
    binding: Binding | None = None

    def need(self, scope: str) -> None:
        """Raises: Problem 403 where the key lacks the scope."""
        if scope not in self.key.scopes:
            has = ", ".join(sorted(self.key.scopes)) or "none"
            raise Problem(
                403,
                "not-allowed",
                f"the key {self.key.id} has the scopes {has}, and this needs {scope}; create a "
                "key that has it",
            )


@dataclass(frozen=True, slots=True)
class Viewer:
    """A player with a token."""

    binding: Binding


@dataclass(frozen=True, slots=True)
class Anonymous:
    """A sender that nothing binds to an account. why: a sentence."""

    address: str
    why: str


Sender = Backend | Viewer | Anonymous

A_BOX = "the token is a set-top box's, which binds no session; it is good for /v1/bulk"


def identify(request: Request, keys: Keys, grace_s: int = GRACE_S) -> Sender:
    """Find out who sends. grace_s: as `read_token` has it.

    Raises: Problem 401 where an API key is given and not good.
    """
    sender = _identify(request, keys, _bearer(request), grace_s)
    if isinstance(sender, Viewer) and not sender.binding.session:
        return Anonymous(address_of(request), A_BOX)
    if isinstance(sender, Backend) and sender.binding and not sender.binding.session:
        return Backend(sender.key)
    return sender


def identify_box(request: Request, keys: Keys) -> Sender:
    """Find out which set-top box sends, or who passes its report on. Raises: as `identify`.

    Boxes know HTTP's Basic authentication: the password is the token or the key.
    """
    return _identify(request, keys, _bearer(request) or _password(request))


def _identify(request: Request, keys: Keys, bearer: str, grace_s: int = GRACE_S) -> Sender:
    """As `identify`, of a box's tokens too. The log lines of the request say who it was."""
    token = request.path_params.get("token") or request.query_params.get("token")
    if bearer.startswith(API_KEY_PREFIX):
        key = keys.api_key(bearer)
        if key is None:
            raise no_credentials("the API key is not known, has expired or was revoked")
        SENDER.set(f"key {key.id}")
        return Backend(key, read_token_or_none(keys, token, grace_s))
    token = bearer or token
    address = address_of(request)
    if not token:
        return Anonymous(address, "the request carries no token, so nothing binds it to an account")
    try:
        binding = read_token(keys, token, grace_s)
    except TokenRefused as refused:
        return Anonymous(address, str(refused))
    SENDER.set(f"token of {binding.kid}")
    return Viewer(binding)


def read_token_or_none(keys: Keys, token: str | None, grace_s: int) -> Binding | None:
    """What a token says; None where it is none, or not good."""
    if not token:
        return None
    try:
        return read_token(keys, token, grace_s)
    except TokenRefused:
        return None


def need_backend(request: Request, keys: Keys, scope: str) -> Backend:
    """The back end that sends. Raises: Problem 401, 403."""
    sender = identify(request, keys)
    if not isinstance(sender, Backend):
        raise no_credentials(
            f"this needs an API key with the scope {scope}: Authorization: Bearer rc_..."
        )
    sender.need(scope)
    return sender


def _password(request: Request) -> str:
    scheme, _, credentials = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return ""
    try:
        plain = base64.b64decode(credentials.strip(), validate=True).decode()
    except ValueError:
        return ""
    return plain.partition(":")[2]


def _bearer(request: Request) -> str:
    scheme, _, credentials = request.headers.get("authorization", "").partition(" ")
    return credentials.strip() if scheme.lower() == "bearer" else ""


def address_of(request: Request) -> str:
    """Where a request comes from, as far as limits are concerned."""
    return network_of(request.client.host if request.client else "")


def network_of(host: str) -> str:
    """The address that a host's limits go by.

    A whole /64 counts as one address, since any home has that many of version 6.
    """
    try:
        address = ip_address(host)
    except ValueError:
        return host
    if isinstance(address, IPv6Address):
        return str(IPv6Address(int(address) >> 64 << 64))
    return str(address)
