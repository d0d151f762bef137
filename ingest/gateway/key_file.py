"""Changing the key file: each change is whole, and keys overlap so that nobody is locked out."""

from __future__ import annotations

import base64
import fcntl
import json
import os
import secrets
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ingest.gateway.errors import KeyFileError
from ingest.gateway.keys import (
    API_KEY_PREFIX,
    VERSION,
    has_ended,
    keys_of,
    read_document,
    sha256_of,
    until_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

SECRET_BYTES = 32


@contextmanager
def changed_keys(path: Path, *, begins: bool = True) -> Iterator[dict[str, Any]]:
    """The document of a key file, written back when the block ends well.

    begins: whether a missing file is begun. Readers see the old file or the new one, and only the
    owner may read. Raises: KeyFileError, OSError.
    """
    if not begins and not path.exists():
        raise KeyFileError(f"{path}: there is no such key file; name it with --file")
    if not path.parent.is_dir():
        raise KeyFileError(f"{path}: there is no folder {path.parent}; make it first")
    with path.with_name(f".{path.name}.lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        document: dict[str, Any] = {"version": VERSION, "api_keys": [], "signing_keys": []}
        if path.exists():
            document = read_document(path)
            keys_of(document, path)
        yield document
        keys_of(document, path)
        partial = path.with_name(f".{path.name}.new")
        with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as out:
            json.dump(document, out, indent=1)
            out.write("\n")
            out.flush()
            os.fsync(out.fileno())
        partial.replace(path)


def create_api_key(
    document: dict[str, Any],
    name: str,
    scopes: Sequence[str],
    *,
    expires: datetime | None = None,
    records_per_s: float | None = None,
) -> str:
    """Add an API key; returns the key itself, which is kept nowhere."""
    key_id = secrets.token_hex(4)
    api_key = f"{API_KEY_PREFIX}{key_id}_{secrets.token_urlsafe(SECRET_BYTES)}"
    entry: dict[str, Any] = {
        "id": key_id,
        "name": name,
        "scopes": sorted(set(scopes)),
        "sha256": sha256_of(api_key),
        "created": _written(_now()),
    }
    if expires:
        entry["expires"] = _written(expires)
    if records_per_s:
        entry["records_per_s"] = records_per_s
    document["api_keys"].append(entry)
    return api_key


def create_signing_key(
    document: dict[str, Any], algorithm: str, *, expires: datetime | None = None
) -> str:
    """Add a key for session tokens, which signs from now on; returns its id."""
    entry: dict[str, Any] = {"kid": f"s{secrets.token_hex(4)}", "alg": algorithm}
    if algorithm == "HS256":
        entry |= {"kty": "oct", "k": _base64url(secrets.token_bytes(SECRET_BYTES))}
    else:
        private = Ed25519PrivateKey.generate()
        entry |= {
            "kty": "OKP",
            "crv": "Ed25519",
            "x": _base64url(private.public_key().public_bytes_raw()),
            "d": _base64url(private.private_bytes_raw()),
        }
    entry["created"] = _written(_now())
    if expires:
        entry["expires"] = _written(expires)
    document["signing_keys"].append(entry)
    return str(entry["kid"])


def revoke(document: dict[str, Any], key_id: str) -> None:
    """End a key of either kind at once. Raises: KeyFileError where there is none."""
    _entry(document, key_id)["revoked"] = _written(_now())


def rotate(document: dict[str, Any], key_id: str, overlap_s: float) -> str:
    """Make a successor of a key, which goes on for a while; returns the new key, or its id.

    The successor ends when the key itself would have. Raises: KeyFileError where there is no such key,
    or where it has ended: who was shut out is not let in again by this.
    """
    entry = _entry(document, key_id)
    until = until_of(entry)
    if entry.get("revoked") or has_ended(until):
        how = "was revoked" if entry.get("revoked") else "has expired"
        raise KeyFileError(f"the key {key_id} {how}; create a new one with `ratecast keys create`")
    ends = end_after(overlap_s)
    entry["expires"] = _written(min(until or ends, ends))
    if "kid" in entry:
        return create_signing_key(document, entry["alg"], expires=until)
    return create_api_key(
        document,
        entry["name"],
        entry["scopes"],
        expires=until,
        records_per_s=entry.get("records_per_s"),
    )


def end_after(life_s: float) -> datetime:
    """When a life that begins now ends. Raises: KeyFileError where no calendar reaches so far."""
    try:
        return _now() + timedelta(seconds=life_s)
    except (OverflowError, ValueError) as error:
        raise KeyFileError(
            f"a key cannot live for {life_s:g} s; give it less, or no end"
        ) from error


def _entry(document: dict[str, Any], key_id: str) -> dict[str, Any]:
    for entry in [*document["api_keys"], *document["signing_keys"]]:
        if key_id in (entry.get("id"), entry.get("kid")):
            found: dict[str, Any] = entry
            return found
    raise KeyFileError(f"there is no key {key_id}; `ratecast keys list` shows those there are")


def _now() -> datetime:
    return datetime.now(UTC)


def _written(time: datetime) -> str:
    return time.astimezone(UTC).isoformat(timespec="milliseconds")


def _base64url(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()
