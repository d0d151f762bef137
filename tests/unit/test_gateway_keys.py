"""The key file, and the commands that change it: each mistake in it is a sentence."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from ingest.gateway.errors import KeyFileError
from ingest.gateway.key_file import changed_keys, create_api_key, create_signing_key, revoke, rotate
from ingest.gateway.keys import KeyRing, read_keys
from rating.runtime.cli import main

if TYPE_CHECKING:
    from pathlib import Path

GOOD = {"id": "1", "name": "n", "scopes": ["events"], "sha256": "0" * 64}


def written(path: Path, *, api: Any = (), signing: Any = ()) -> Path:
    path.write_text(
        json.dumps({"version": 1, "api_keys": list(api), "signing_keys": list(signing)})
    )
    return path


def secret(size: int) -> dict[str, Any]:
    text = base64.urlsafe_b64encode(bytes(range(size))).decode().rstrip("=")
    return {"kid": "s1", "alg": "HS256", "kty": "oct", "k": text}


@pytest.mark.parametrize("size", [1, 16, 31])
def test_a_secret_that_can_be_guessed_is_refused(tmp_path: Path, size: int) -> None:
    with pytest.raises(KeyFileError, match=f"its secret has {size} bytes, and HS256 needs 32"):
        read_keys(written(tmp_path / "keys.json", signing=[secret(size)]))
    assert read_keys(written(tmp_path / "keys.json", signing=[secret(32)])).signer() is not None


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"expires": "2026-01-05T12:00:00"}, "a zone as well"),
        ({"expires": "2026-01-05"}, "a zone as well"),
        ({"expires": "0001-01-01T00:00:00+05:00"}, "a time such as"),
        ({"expires": "9999-12-31T23:59:59-05:00"}, "a time such as"),
        ({"revoked": 7}, "a time such as"),
        ({"expires": "soon"}, "soon"),
        ({"records_per_s": -1}, "above 0"),
        ({"records_per_s": True}, "above 0"),
        ({"records_per_s": float("nan")}, "above 0"),
        ({"records_per_s": float("inf")}, "above 0"),
        ({"records_per_s": "5"}, "above 0"),
        ({"sha256": "AB"}, "64 lower-case"),
        ({"sha256": None}, "expected a text"),
        ({"id": ["x"]}, "expected a text"),
        ({"id": ""}, "expected a text"),
        ({"name": "a\nb"}, "expected a text"),
        ({"scopes": "events"}, "no list of texts"),
        ({"scopes": ["all"]}, "no such scope"),
    ],
)
def test_a_key_that_is_broken_is_named(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    with pytest.raises(KeyFileError, match=said):
        read_keys(written(tmp_path / "keys.json", api=[GOOD | change]))


def test_a_key_of_another_zone_ends_when_it_says(tmp_path: Path) -> None:
    key = GOOD | {"expires": "2026-01-05T12:00:00-05:00"}
    found = read_keys(written(tmp_path / "keys.json", api=[key])).api["1"]
    assert found.until == datetime(2026, 1, 5, 17, tzinfo=UTC)


@pytest.mark.parametrize(
    "content",
    [
        b"[" * 100_000,
        b"{}",
        b"[]",
        b"\xff",
        b'{"version":1,"api_keys":{"a":1}}',
        b'{"version":1,"api_keys":[1]}',
        b'{"version":1,"signing_keys":[{}]}',
    ],
)
def test_what_is_no_key_file_is_said(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "keys.json").write_bytes(content)
    with pytest.raises(KeyFileError):
        read_keys(tmp_path / "keys.json")


def test_two_keys_of_one_id_are_said(tmp_path: Path) -> None:
    with pytest.raises(KeyFileError, match="key 1 is there twice"):
        read_keys(written(tmp_path / "keys.json", api=[GOOD, GOOD]))


def entries(path: Path) -> list[dict[str, Any]]:
    document = json.loads(path.read_bytes())
    return [*document["api_keys"], *document["signing_keys"]]


def test_the_successor_of_a_key_ends_when_the_key_would_have(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    ends = datetime.now(UTC).replace(microsecond=0) + timedelta(days=10)
    with changed_keys(path) as document:
        create_api_key(document, "n", ["events"], expires=ends)
        create_signing_key(document, "EdDSA", expires=ends)
    for entry in entries(path):
        with changed_keys(path) as document:
            rotate(document, entry.get("id") or entry["kid"], 3600)
    api, next_api, signing, next_signing = entries(path)
    for old, new in ((api, next_api), (signing, next_signing)):
        assert datetime.fromisoformat(new["expires"]) == ends
        assert datetime.fromisoformat(old["expires"]) < ends - timedelta(days=9)


@pytest.mark.parametrize("is_revoked", [True, False])
def test_a_key_that_has_ended_has_no_successor(tmp_path: Path, is_revoked: bool) -> None:
    path = tmp_path / "keys.json"
    with changed_keys(path) as document:
        kid = create_signing_key(document, "HS256")
        if is_revoked:
            revoke(document, kid)
        else:
            document["signing_keys"][0]["expires"] = "2020-01-01T00:00:00Z"
    before = path.read_bytes()
    with pytest.raises(KeyFileError, match="was revoked" if is_revoked else "has expired"):  # noqa: SIM117
        with changed_keys(path) as document:
            rotate(document, kid, 3600)
    assert path.read_bytes() == before


def test_a_key_file_that_went_away_changes_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "keys.json"
    with changed_keys(path) as document:
        key = create_api_key(document, "n", ["events"])
    ring = KeyRing(path)
    path.unlink()
    monkeypatch.setattr(ring, "_look_at_s", 0.0)
    assert ring.now().api_key(key) is not None
    assert "the keys of before stay in force" in caplog.text


@pytest.mark.parametrize(
    "command",
    [
        ["list"],
        ["revoke", "1"],
        ["rotate", "1"],
        ["token", "--account", "a", "--device", "d"],
        ["create", "--name", "n", "--scope", "events", "--days", "9" * 9],
        ["create", "--name", "n", "--scope", "events", "--limit", "nan"],
        ["create", "--name", "n", "--scope", "events", "--limit", "inf"],
    ],
)
def test_a_command_that_cannot_do_it_says_so_and_leaves_no_file(
    tmp_path: Path, command: list[str]
) -> None:
    path = tmp_path / "none" / "keys.json" if command[0] != "create" else tmp_path / "keys.json"
    done = CliRunner().invoke(main, ["keys", command[0], "--file", str(path), *command[1:]])
    assert done.exit_code not in (0, None)
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    assert not path.exists()


@pytest.mark.parametrize("overlap", ["1e300", "nan", "inf"])
def test_an_overlap_beyond_all_calendars_is_said(tmp_path: Path, overlap: str) -> None:
    path = tmp_path / "keys.json"
    with changed_keys(path) as document:
        kid = create_signing_key(document, "HS256")
    command = ["keys", "rotate", "--file", str(path), "--overlap", overlap, kid]
    done = CliRunner().invoke(main, command)
    assert done.exit_code not in (0, None)
    assert isinstance(done.exception, SystemExit), done.exception


def test_a_signing_key_may_have_an_end(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    command = ["keys", "create", "--file", str(path), "--signing", "--days", "30"]
    assert CliRunner().invoke(main, command).exit_code == 0
    (entry,) = entries(path)
    left = datetime.fromisoformat(entry["expires"]) - datetime.now(UTC)
    assert timedelta(days=29) < left <= timedelta(days=30)
