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
SECONDS_MAX = 2**33  # the year 2242
NEVER_MS = -1
REQUIRED = ("sub", "device")
SESSION = "session"
OPTIONAL = ("content", "kind", "quality")
SKEW_S = 30
BEFORE_S = 300  # as much as clocks may differ everywhere in the log (spec section 1)
GRACE_S = 24 * 3600  # for what a device could not send while it was offline


class TokenRefused(Exception):  # noqa: N818 - named for what happened
    """Nothing can be said about who sends; the sentence says why, without the token."""


@dataclass(frozen=True, slots=True)
class Binding:
    """What a good token says. begins_ms, ends_ms: what happened before or later is not bound by it.

    why_over: why the session is over; empty while it goes on.
    issued_ms: when the token was signed; None where it does not say. kid: of the key that signed it.
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
    begins_ms: int
    why_over: str = ""
    issued_ms: int | None = None
    kid: str = ""

    def why_not_at(self, time_ms: int) -> str:
        """Why what happened at a time is not bound; empty where it is."""
        if time_ms < self.begins_ms and self.begins_ms <= self.ends_ms:
            return "it happened before the session's token was signed"
        if time_ms > self.ends_ms:
            return f"{self.why_over or 'the token has expired'}, and this happened later"
        return ""


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


def read_token(keys: Keys, token: str, grace_s: int = GRACE_S) -> Binding:
    """Check a token. One that was good and has ended is still known, with `why_over` set.

    grace_s: for how long after its end anything is bound by it. Raises: TokenRefused.
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
    except (jwt.PyJWTError, ValueError, OverflowError, RecursionError) as error:
        # The class says enough, and can hold nothing of the token.
        raise TokenRefused(f"the token is not good ({type(error).__name__})") from error
    return _bound_now(replace(_binding(claims), kid=key.kid), key, grace_s)


def _bound_now(binding: Binding, key: SigningKey, grace_s: int) -> Binding:
    """What a token binds at this moment, by its own end and that of the key that signed it."""
    if key.is_revoked:
        return replace(binding, ends_ms=NEVER_MS, why_over="the key that signed it was revoked")
    now_ms = int(time.time() * 1000)
    why_over = ""
    if binding.ends_ms + SKEW_S * 1000 <= now_ms:
        why_over = "the token has expired"
    if key.until is not None and has_ended(key.until):
        ends_ms = min(binding.ends_ms, int(key.until.timestamp()) * 1000)
        binding = replace(binding, ends_ms=ends_ms)
        why_over = "the token's signing key has ended"
    if why_over and binding.ends_ms + grace_s * 1000 < now_ms:
        why_over += f" more than {grace_s} s ago, after which nothing is taken by it"
        binding = replace(binding, ends_ms=NEVER_MS)
    return replace(binding, why_over=why_over)


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
    exp_s, iat_s = claims["exp"], claims.get("iat")
    if type(exp_s) is not int or not 0 <= exp_s < SECONDS_MAX:
        raise TokenRefused("its expiry is no whole number of seconds")
    if iat_s is not None and (type(iat_s) is not int or not 0 <= iat_s < SECONDS_MAX):
        raise TokenRefused("iat is no whole number of seconds")
    session = claims.get(SESSION, "")
    begins_s = exp_s - (LIFE_S_MAX if session else BOX_LIFE_S_MAX) if iat_s is None else iat_s
    return Binding(
        claims["sub"],
        claims["device"],
        session,
        claims.get("content"),
        claims.get("kind"),
        claims.get("quality"),
        ends_ms=exp_s * 1000,
        begins_ms=(begins_s - BEFORE_S) * 1000,
        issued_ms=None if iat_s is None else iat_s * 1000,
    )
