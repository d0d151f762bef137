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
import re
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import jwt

from ingest.gateway.errors import KeyFileError
from ingest.gateway.limits import Limit

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

SCOPES: Final = ("events", "orders", "accounts", "topups", "tokens", "bulk", "mixed")
ALGORITHMS: Final = ("HS256", "EdDSA")
API_KEY_PREFIX = "rc_"
LOOK_EVERY_S = 0.5
VERSION = 1
SECRET_BYTES_MIN = 32  # RFC 7518 section 3.2: as long as what HS256 makes of it
RECORDS_PER_S_MAX = 10**9
SHA256 = re.compile(r"[0-9a-f]{64}")

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
    return keys_of(read_document(path), path)


def read_document(path: Path) -> dict[str, Any]:
    """A key file's JSON, with both its lists. Raises: KeyFileError."""
    try:
        document = json.loads(path.read_bytes())
    except OSError as error:
        raise KeyFileError(
            f"{path}: {error.strerror}; make one with `ratecast keys create --file {path} ...`"
        ) from error
    except (ValueError, RecursionError) as error:
        raise KeyFileError(f"{path}: it is not JSON ({error}); restore it") from error
    if not isinstance(document, dict) or document.get("version") != VERSION:
        raise KeyFileError(f'{path}: it is no key file, which has "version": {VERSION}')
    lists = {name: document.get(name, []) for name in ("api_keys", "signing_keys")}
    for name, entries in lists.items():
        if not isinstance(entries, list) or not all(isinstance(each, dict) for each in entries):
            raise KeyFileError(f'{path}: "{name}" is no list of objects; mend it')
    return document | lists


def keys_of(document: Mapping[str, Any], path: Path) -> Keys:
    """The keys of a key file's JSON. path: named in errors. Raises: KeyFileError."""
    try:
        api = [_api_key(entry) for entry in document["api_keys"]]
        signing = [_signing_key(entry) for entry in document["signing_keys"]]
    except (KeyError, TypeError, ValueError, AttributeError, jwt.PyJWTError) as error:
        why = f"no {error}" if isinstance(error, KeyError) else str(error)
        raise KeyFileError(f"{path}: a key in it is broken: {why}; mend it") from error
    ids = Counter([*(key.id for key in api), *(key.kid for key in signing)])
    if twice := [id_ for id_, count in ids.items() if count > 1]:
        raise KeyFileError(f"{path}: key {twice[0]} is there twice; take one of them out")
    return Keys({key.id: key for key in api}, {key.kid: key for key in signing})


def _text(entry: Mapping[str, Any], name: str) -> str:
    text = entry[name]
    if not isinstance(text, str) or not text or not text.isprintable():
        raise ValueError(f'"{name}" is {text!r}, expected a text')
    return text


def _api_key(entry: Mapping[str, Any]) -> ApiKey:
    id_ = _text(entry, "id")
    scopes = entry["scopes"]
    if not isinstance(scopes, list) or not all(isinstance(scope, str) for scope in scopes):
        raise ValueError(f"key {id_}: its scopes are no list of texts")
    if unknown := set(scopes) - set(SCOPES):
        raise ValueError(f"key {id_}: no such scope: {', '.join(sorted(unknown))}")
    if SHA256.fullmatch(_text(entry, "sha256")) is None:
        raise ValueError(f"key {id_}: sha256 is no hash in 64 lower-case hexadecimal digits")
    per_s = entry.get("records_per_s")
    if per_s is not None and not (
        isinstance(per_s, int | float) and per_s is not True and 0 < per_s <= RECORDS_PER_S_MAX
    ):
        raise ValueError(f"key {id_}: records_per_s is {per_s!r}, expected a number above 0")
    return ApiKey(
        id_,
        _text(entry, "name"),
        frozenset(scopes),
        entry["sha256"],
        until_of(entry),
        Limit(per_s, 2 * per_s) if per_s else None,
    )


def _signing_key(entry: Mapping[str, Any]) -> SigningKey:
    kid, algorithm = _text(entry, "kid"), entry["alg"]
    if algorithm not in ALGORITHMS:
        raise ValueError(f"key {kid}: {algorithm} is not one of {', '.join(ALGORITHMS)}")
    # The private part signs, and its public one checks.
    parsed = jwt.PyJWK(dict(entry), algorithm=algorithm).key
    is_shared = algorithm == "HS256"
    if is_shared != isinstance(parsed, bytes):
        raise ValueError(f"key {kid}: a key of type {entry['kty']} is none for {algorithm}")
    if is_shared and len(parsed) < SECRET_BYTES_MIN:
        raise ValueError(
            f"key {kid}: its secret has {len(parsed)} bytes, and HS256 needs {SECRET_BYTES_MIN}; "
            "`ratecast keys create --signing --algorithm HS256` makes one"
        )
    return SigningKey(
        kid,
        algorithm,
        parsed,
        is_shared or "d" in entry,
        until_of(entry),
        is_revoked=bool(entry.get("revoked")),
    )


def until_of(entry: Mapping[str, Any]) -> datetime | None:
    """When a key ends: at once where it was revoked; None where it does not. Raises: ValueError."""
    ends = [_time(entry, name) for name in ("revoked", "expires") if entry.get(name)]
    return min(ends) if ends else None


def _time(entry: Mapping[str, Any], name: str) -> datetime:
    """A time of a key, in UTC. Raises: ValueError."""
    what = f'key {entry.get("id") or entry.get("kid")}: "{name}" is {entry[name]!r}, expected'
    try:
        time_ = datetime.fromisoformat(entry[name])
        if time_.tzinfo is None:
            raise ValueError(f"{what} a zone as well, such as {entry[name]}Z")
        return time_.astimezone(UTC)
    except (TypeError, OverflowError) as error:
        raise ValueError(f"{what} a time such as 2026-01-05T12:00:00Z") from error
