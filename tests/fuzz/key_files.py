"""Key files: each is read, and then its keys can be used; or it is refused with a sentence."""

from __future__ import annotations

import json
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from extremes import EXTREMES

from ingest.gateway.errors import KeyFileError
from ingest.gateway.key_file import changed_keys, create_api_key, create_signing_key, revoke, rotate
from ingest.gateway.keys import SCOPES, read_keys
from ingest.gateway.tokens import TokenRefused, mint, read_token

if TYPE_CHECKING:
    from random import Random

TIMES = ["2026-01-05T12:00:00", "2099-01-01T00:00:00-05:00", "9999-12-31T23:59:59-05:00", ""]
TIMES += ["0001-01-01T00:00:00+05:00", "2099-01-01", "2020-01-01T00:00:00Z", "now"]
SECRETS = ["", "AA", "A" * 43, "A" * 64, "é"]


def fuzz(random: Random) -> None:
    """One file, read and changed."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "keys.json"
        with changed_keys(path) as document:
            api_key = create_api_key(document, "n", random.sample(SCOPES, 2))
            for _ in range(2):
                create_signing_key(document, random.choice(["EdDSA", "HS256"]))
        path.write_bytes(spoiled(random, json.loads(path.read_bytes())))
        try:
            keys = read_keys(path)
        except KeyFileError as error:
            assert str(path) in str(error)
            return
        keys.api_key(api_key)
        signer = keys.signer()
        if signer is not None:
            with suppress(TokenRefused):
                read_token(keys, mint(signer, "a", "d", "s", expires_s=2_000_000_000))
        ids = [*keys.api, *keys.signing]
        with suppress(KeyFileError), changed_keys(path) as document:
            random.choice([revoke_one, rotate_one])(document, random.choice([*ids, "none"]))
        read_keys(path)


def revoke_one(document: dict[str, Any], key_id: str) -> None:
    revoke(document, key_id)


def rotate_one(document: dict[str, Any], key_id: str) -> None:
    rotate(document, key_id, 3600)


def spoiled(random: Random, document: dict[str, Any]) -> bytes:
    """A key file with something else in some places."""
    holes: list[bytes] = []
    for _ in range(random.choice([0, 1, 1, 2])):
        entry = random.choice([*document["api_keys"], *document["signing_keys"], document])
        name = random.choice([*entry, "expires", "revoked", "records_per_s"])
        if name in ("expires", "revoked") and random.random() < 0.8:
            entry[name] = random.choice(TIMES)
        elif name == "k" and random.random() < 0.8:
            entry[name] = random.choice(SECRETS)
        elif random.random() < 0.1 and entry is not document:
            entry.pop(name, None)
        else:
            entry[name] = f"hole {len(holes)}"
            holes.append(random.choice(EXTREMES))
            if entry is document:
                break
    content = json.dumps(document).encode()
    for number, extreme in enumerate(holes):
        content = content.replace(b'"hole %d"' % number, extreme)
    return content
