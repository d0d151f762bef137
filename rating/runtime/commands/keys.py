"""`ratecast keys`: who may send to the gateway."""

from __future__ import annotations

from typing import Any

import click

DEFAULT_FILE = "keys.json"
SCOPE_NAMES = ("events", "orders", "accounts", "topups", "tokens", "bulk", "mixed")


def file_option(function: Any) -> Any:
    """`--file`, the key file."""
    return click.option(
        "--file",
        "path",
        metavar="FILE",
        default=DEFAULT_FILE,
        show_default=True,
        envvar="RATECAST_KEYS",
        show_envvar=True,
        help="The key file.",
    )(function)


@click.group()
def keys() -> None:
    """Create, list, rotate and revoke the keys that the gateway knows.

    An API key lets a back end send; a signing key signs the tokens that players carry. The key file
    holds API keys only as hashes, and a running gateway reads it again whenever it changes.

    \b
    ratecast keys create --name middleware --scope orders --scope accounts --scope tokens
    ratecast keys create --signing
    """


@keys.command()
@file_option
@click.option("--name", help="Whose API key it is.")
@click.option(
    "--scope", "scopes", multiple=True, type=click.Choice(SCOPE_NAMES), help="What it may send."
)
@click.option("--days", type=click.IntRange(min=1), help="It ends after so many days.")
@click.option(
    "--limit", type=click.FloatRange(min=0, min_open=True), help="Its own records a second."
)
@click.option("--signing", is_flag=True, help="A key that signs tokens, in place of an API key.")
@click.option(
    "--algorithm",
    type=click.Choice(["EdDSA", "HS256"]),
    default="EdDSA",
    show_default=True,
    help="Of a signing key; with EdDSA others can check tokens but not make them.",
)
def create(
    path: str,
    name: str | None,
    scopes: tuple[str, ...],
    days: int | None,
    limit: float | None,
    signing: bool,
    algorithm: str,
) -> None:
    """Create a key. An API key is shown once and is kept nowhere.

    \b
    ratecast keys create --name middleware --scope orders --scope tokens
    ratecast keys create --signing --algorithm HS256
    """
    from pathlib import Path

    from ingest.gateway.key_file import (
        changed_keys,
        create_api_key,
        create_signing_key,
        end_after,
    )

    if signing == bool(name):
        raise click.UsageError("give --name and --scope for an API key, or --signing")
    if not signing and not scopes:
        raise click.UsageError(f"give at least one --scope of {', '.join(SCOPE_NAMES)}")
    expires = end_after(days * 24 * 3600) if days else None
    with changed_keys(Path(path)) as document:
        if signing:
            click.echo(create_signing_key(document, algorithm, expires=expires))
            return
        assert name is not None
        click.echo(create_api_key(document, name, scopes, expires=expires, records_per_s=limit))
    click.echo("This is the only time that the key is shown.", err=True)


@keys.command(name="list")
@file_option
def list_keys(path: str) -> None:
    """List the keys, without their secrets.

    \b
    ratecast keys list
    """
    from pathlib import Path

    from ingest.gateway.keys import keys_of, read_document
    from rating.runtime.figures import columns

    document = read_document(Path(path))
    keys_of(document, Path(path))
    rows = []
    for entry in [*document["api_keys"], *document["signing_keys"]]:
        what = entry.get("name") or f"signs tokens, {entry['alg']}"
        scopes = " ".join(entry.get("scopes", []))
        ends = [f"{word} {entry[word]}" for word in ("revoked", "expires") if entry.get(word)]
        said = "; ".join([part for part in (what, scopes, *ends[:1]) if part])
        rows.append((entry.get("id") or entry["kid"], said))
    for line in columns(rows, indent=""):
        click.echo(line)


@keys.command()
@file_option
@click.argument("key_id", metavar="ID")
def revoke(path: str, key_id: str) -> None:
    """End a key at once. What it signed is not believed any more.

    \b
    ratecast keys revoke 969c611d
    """
    from pathlib import Path

    from ingest.gateway.key_file import changed_keys
    from ingest.gateway.key_file import revoke as revoke_key

    with changed_keys(Path(path), begins=False) as document:
        revoke_key(document, key_id)
    click.echo(f"{key_id} is revoked.", err=True)


@keys.command()
@file_option
@click.option(
    "--overlap",
    metavar="HOURS",
    type=click.FloatRange(min=0),
    default=24.0,
    show_default=True,
    help="How long the old key is good beside the new one. For signing keys: the life of a token.",
)
@click.argument("key_id", metavar="ID")
def rotate(path: str, overlap: float, key_id: str) -> None:
    """Create a successor of a key; the old one is good for a while beside it.

    \b
    ratecast keys rotate 969c611d --overlap 48
    """
    from pathlib import Path

    from ingest.gateway.key_file import changed_keys
    from ingest.gateway.key_file import rotate as rotate_key

    with changed_keys(Path(path), begins=False) as document:
        click.echo(rotate_key(document, key_id, overlap * 3600))
    click.echo(f"{key_id} ends in {overlap:g} hours.", err=True)


@keys.command()
@file_option
@click.option("--account", required=True, help="Who pays.")
@click.option("--device", required=True, help="On which device.")
@click.option("--session", help="The session; a new one by default.")
@click.option("--content", help="What is played, whatever the player says.")
@click.option("--kind", help="channel, vod, ppv, catchup or another word.")
@click.option("--quality", help="The quality that is paid for.")
@click.option("--box", is_flag=True, help="For a set-top box, which has many sessions.")
@click.option(
    "--hours",
    type=click.FloatRange(min=0, min_open=True),
    help="How long it is good: 6 by default, 168 at most; for a box 2160, and 9600.",
)
def token(
    path: str,
    account: str,
    device: str,
    session: str | None,
    content: str | None,
    kind: str | None,
    quality: str | None,
    box: bool,
    hours: float | None,
) -> None:
    """Mint a token without a gateway, with the newest signing key: for a session, or for a box.

    \b
    ratecast keys token --account anna --device tv --kind channel
    ratecast keys token --account anna --device box-1 --box
    """
    import time
    import uuid
    from pathlib import Path

    from ingest.gateway.errors import KeyFileError
    from ingest.gateway.keys import read_keys
    from ingest.gateway.tokens import BOX_LIFE_S, BOX_LIFE_S_MAX, LIFE_S, LIFE_S_MAX, mint

    if box and (session or content or kind or quality):
        raise click.UsageError("a box says itself what it plays: give --box without these")
    usual_s, life_s_max = (BOX_LIFE_S, BOX_LIFE_S_MAX) if box else (LIFE_S, LIFE_S_MAX)
    life_s = usual_s if hours is None else hours * 3600
    if not life_s <= life_s_max:  # nor where it is no number
        raise click.UsageError(f"--hours {hours:g}: at most {life_s_max // 3600}")

    signer = read_keys(Path(path)).signer()
    if signer is None:
        raise KeyFileError(
            f"{path}: no key in it signs; `ratecast keys create --signing` makes one"
        )
    said = {"content": content, "kind": kind, "quality": quality}
    more = {name: text for name, text in said.items() if text is not None}
    expires_s = int(time.time() + life_s)
    named = "" if box else session or str(uuid.uuid4())
    click.echo(mint(signer, account, device, named, expires_s=expires_s, more=more))
