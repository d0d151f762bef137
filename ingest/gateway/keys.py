"""Who may send: the key file, read again whenever it changes.

API keys are kept as SHA-256 of the whole key. A slow password hash would protect nothing here: a
key has 256 random bits, so nobody can try them all, and every request pays for the hash.
Source: docs/adr/0010-session-tokens.md; RFC 7517 for the keys that sign tokens.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import jwt

from ingest.gateway.errors import KeyFileError
from ingest.gateway.limits import Limit

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

SCOPES: Final = ("events", "orders", "accounts", "topups", "tokens", "bulk")
ALGORITHMS: Final = ("HS256", "EdDSA")
API_KEY_PREFIX = "rc_"
LOOK_EVERY_S = 0.5
VERSION = 1

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A back end's key, without the key itself. until: None for ever; limit: None the gateway's."""

    id: str
    name: str
    scopes: frozenset[str]
    sha256: str
    until: datetime | None = None
    limit: Limit | None = None


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A key that session tokens are signed with. may_sign: whether its private part is here.

    until: after it, no token of this key is good; None for ever. is_revoked: it was stolen, say, so
    nothing is believed that it ever signed.
    """

    kid: str
    algorithm: str
    key: Any = field(repr=False)
    may_sign: bool
    until: datetime | None = None
    is_revoked: bool = False


@dataclass(frozen=True, slots=True)
class Keys:
    """All keys of a file, each by its id. Of signing keys the newest comes last."""

    api: Mapping[str, ApiKey]
    signing: Mapping[str, SigningKey]

    def api_key(self, presented: str) -> ApiKey | None:
        """The key that was presented, if it is known and still good."""
        parts = presented.split("_", 2)
        known = self.api.get(parts[1]) if len(parts) == 3 else None
        # An unknown id costs as much time as a wrong secret, and tells no more.
        right = known.sha256 if known else "0" * 64
        is_right = hmac.compare_digest(right, sha256_of(presented))
        if known is None or not is_right or has_ended(known.until):
            return None
        return known

    def signer(self) -> SigningKey | None:
        """The newest key that can sign; None where there is none."""
        for key in reversed(list(self.signing.values())):
            if key.may_sign and not has_ended(key.until):
                return key
        return None


def sha256_of(api_key: str) -> str:
    """What is stored of an API key, in hexadecimal."""
    return hashlib.sha256(api_key.encode("utf-8", "surrogatepass")).hexdigest()


def has_ended(until: datetime | None) -> bool:
    """Whether a time is over."""
    return until is not None and until <= datetime.now(UTC)


class KeyRing:
    """The keys of a file, now. A file that became unreadable changes nothing, and is said.

    Raises, when it is made: KeyFileError.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen = self._stamp()
        self._keys = read_keys(path)
        self._look_at_s = time.monotonic() + LOOK_EVERY_S
        self.why_stale = ""

    def now(self) -> Keys:
        """The keys as the file has them, at most LOOK_EVERY_S old."""
        now_s = time.monotonic()
        if now_s >= self._look_at_s:
            self._look_at_s = now_s + LOOK_EVERY_S
            self._look()
        return self._keys

    def _look(self) -> None:
        stamp = self._stamp()
        if stamp == self._seen:
            return
        self._seen = stamp
        try:
            self._keys = read_keys(self._path)
        except KeyFileError as error:
            self.why_stale = str(error)
            log.error("the keys of before stay in force: %s", error)  # noqa: TRY400 - one sentence
        else:
            self.why_stale = ""
            log.warning("%s was read again: %d API keys", self._path, len(self._keys.api))

    def _stamp(self) -> tuple[int, int, int]:
        try:
            found = self._path.stat()
        except OSError:
            return (0, 0, 0)
        return (found.st_mtime_ns, found.st_size, found.st_ino)


def read_keys(path: Path) -> Keys:
    """Read a key file. Raises: KeyFileError."""
    try:
        document = json.loads(path.read_bytes())
    except OSError as error:
        raise KeyFileError(
            f"{path}: {error.strerror}; make one with `ratecast keys create --file {path} ...`"
        ) from error
    except ValueError as error:
        raise KeyFileError(f"{path}: it is not JSON ({error}); restore it") from error
    if not isinstance(document, dict) or document.get("version") != VERSION:
        raise KeyFileError(f'{path}: it is no key file, which has "version": {VERSION}')
    try:
        api = [_api_key(entry) for entry in document.get("api_keys", [])]
        signing = [_signing_key(entry) for entry in document.get("signing_keys", [])]
    except (KeyError, TypeError, ValueError, AttributeError, jwt.PyJWTError) as error:
        raise KeyFileError(f"{path}: a key in it is broken ({error!r}); mend it") from error
    return Keys({key.id: key for key in api}, {key.kid: key for key in signing})


def _api_key(entry: Mapping[str, Any]) -> ApiKey:
    scopes = frozenset(entry["scopes"])
    if unknown := scopes - set(SCOPES):
        raise ValueError(f"no such scope: {', '.join(sorted(unknown))}")
    per_s = entry.get("records_per_s")
    return ApiKey(
        entry["id"],
        entry["name"],
        scopes,
        entry["sha256"],
        _until(entry),
        Limit(per_s, 2 * per_s) if per_s else None,
    )


def _signing_key(entry: Mapping[str, Any]) -> SigningKey:
    algorithm = entry["alg"]
    if algorithm not in ALGORITHMS:
        raise ValueError(f"key {entry['kid']}: {algorithm} is not one of {', '.join(ALGORITHMS)}")
    # The private part signs, and its public one checks.
    parsed = jwt.PyJWK(dict(entry), algorithm=algorithm).key
    return SigningKey(
        entry["kid"],
        algorithm,
        parsed,
        entry["kty"] == "oct" or "d" in entry,
        _until(entry),
        is_revoked=bool(entry.get("revoked")),
    )


def _until(entry: Mapping[str, Any]) -> datetime | None:
    """When a key ends: at once where it was revoked."""
    ends = [
        datetime.fromisoformat(entry[name]) for name in ("revoked", "expires") if entry.get(name)
    ]
    return min(ends) if ends else None
