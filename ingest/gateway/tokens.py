"""Session tokens: signed statements of who pays for a session, so that no report needs to say it.

A token is a JSON Web Token with `sub` (the account), `device`, `session`, `exp`, `aud` of AUDIENCE
and, where the operator knows better than the player, `content`, `kind` and `quality`.
Source: RFC 7519, RFC 8725; docs/adr/0010-session-tokens.md.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import jwt

from ingest.gateway.keys import has_ended

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ingest.gateway.keys import Keys, SigningKey

AUDIENCE = "ratecast"
TOKEN_CHARACTERS_MAX = 4096
TEXT_CHARACTERS_MAX = 128
LIFE_S_MAX = 7 * 24 * 3600
LIFE_S = 6 * 3600
BOX_LIFE_S_MAX = 400 * 24 * 3600
BOX_LIFE_S = 90 * 24 * 3600
REQUIRED = ("sub", "device")
SESSION = "session"
OPTIONAL = ("content", "kind", "quality")
SKEW_S = 30


class TokenRefused(Exception):  # noqa: N818 - named for what happened
    """Nothing can be said about who sends; the sentence says why, without the token."""


@dataclass(frozen=True, slots=True)
class Binding:
    """What a good token says. ends_ms: what happened later is not bound by it.

    why_over: why the session is over; empty while it goes on.

    issued_ms: when the token was signed; None where it does not say.
    session: empty in the token of a set-top box, which says itself which sessions it had.
    content, kind, quality: None where the report's own count.
    """

    account: str
    device: str
    session: str
    content: str | None
    kind: str | None
    quality: str | None
    ends_ms: int
    why_over: str = ""
    issued_ms: int | None = None

    def holds_at(self, time_ms: int | None) -> bool:
        """Whether what happened at a time is bound; None where the time is not known."""
        return not self.why_over or (time_ms is not None and time_ms <= self.ends_ms)


def mint(
    key: SigningKey,
    account: str,
    device: str,
    session: str,
    *,
    expires_s: int,
    issued_s: int | None = None,
    more: Mapping[str, str] | None = None,
) -> str:
    """Sign a token. expires_s, issued_s: seconds since the epoch. more: content, kind, quality.

    session: empty for a set-top box, which is bound to its account and to no session.
    """
    claims = {
        "aud": AUDIENCE,
        "sub": account,
        "device": device,
        **({SESSION: session} if session else {}),
        "iat": int(time.time()) if issued_s is None else issued_s,
        "exp": expires_s,
        **(more or {}),
    }
    return jwt.encode(claims, key.key, key.algorithm, headers={"kid": key.kid})


def read_token(keys: Keys, token: str) -> Binding:
    """Check a token. One that was good and has ended is still known, with `why_over` set.

    Raises: TokenRefused.
    """
    if len(token) > TOKEN_CHARACTERS_MAX:
        raise TokenRefused(f"the token is longer than {TOKEN_CHARACTERS_MAX} characters")
    try:
        kid = jwt.get_unverified_header(token).get("kid")
        key = keys.signing.get(kid) if isinstance(kid, str) else None
        if key is None:
            raise TokenRefused("the token is signed by a key that is not known here")
        # The algorithm is the key's: a token must not choose how it is checked.
        claims = jwt.decode(
            token,
            _checking(key),
            algorithms=[key.algorithm],
            audience=AUDIENCE,
            leeway=SKEW_S,
            options={"require": ["exp", "aud", *REQUIRED], "verify_exp": False},
        )
    except jwt.PyJWTError as error:
        # The class says enough, and can hold nothing of the token.
        raise TokenRefused(f"the token is not good ({type(error).__name__})") from error
    binding = _binding(claims)
    if key.is_revoked:
        return replace(binding, ends_ms=0, why_over="the key that signed the token was revoked")
    if key.until is not None and has_ended(key.until):
        ends_ms = min(binding.ends_ms, int(key.until.timestamp()) * 1000)
        return replace(binding, ends_ms=ends_ms, why_over="the token's signing key has ended")
    if claims["exp"] + SKEW_S <= time.time():
        return replace(binding, why_over="the token has expired")
    return binding


def _checking(key: SigningKey) -> Any:
    """The part of a key that checks a signature."""
    public = getattr(key.key, "public_key", None)
    return public() if public else key.key


def _binding(claims: Mapping[str, Any]) -> Binding:
    texts = [claims[name] for name in REQUIRED]
    texts += [claims[name] for name in (SESSION, *OPTIONAL) if name in claims]
    for text in texts:
        if not isinstance(text, str) or not 0 < len(text) <= TEXT_CHARACTERS_MAX:
            raise TokenRefused(f"a claim is no text of 1 to {TEXT_CHARACTERS_MAX} characters")
    if type(claims["exp"]) is not int:
        raise TokenRefused("its expiry is no whole number of seconds")
    return Binding(
        claims["sub"],
        claims["device"],
        claims.get(SESSION, ""),
        claims.get("content"),
        claims.get("kind"),
        claims.get("quality"),
        claims["exp"] * 1000,
        issued_ms=int(claims["iat"]) * 1000 if "iat" in claims else None,
    )
