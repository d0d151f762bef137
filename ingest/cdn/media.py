"""Requests to delivered media: which session got which object, and how much time it plays.

CMCD is read from columns at once where it is plain, and by the codec where it is not; both agree.
Only objects with pictures count (`v`, `av`), so that sound is not counted beside them.
Source: CTA-5004-B sections 3 and 5.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, unquote_plus

import polars as pl

from ingest.cdn.readers import BAD
from ingest.cdn.requests import decoded
from ingest.cmcd import Record, Rejected, read_record

if TYPE_CHECKING:
    from ingest.cdn.mapping import CdnMapping

DELIVERY = pl.Schema(
    {
        "time": pl.Int64,  # ms since the epoch, as the CDN has it
        "source": pl.String,  # the mapping's id
        "request": pl.String,  # the CDN's own id of the request; null where it has none
        "session": pl.String,
        "content": pl.String,  # null where the player did not say
        "object": pl.String,  # host, path and range
        "media_ms": pl.Int64,  # what it plays at normal speed
        "rate_milli": pl.Int64,  # playback rate in thousandths; 1000 where not said
        "buffer_ms": pl.Int64,  # fetched and not yet played at the time; null where not said
        "bytes": pl.Int64,
    }
)
"""One row for each object with pictures that was delivered."""

FACTS = pl.Schema(
    {
        "sid": pl.String,
        "cid": pl.String,
        "ot": pl.String,
        "d": pl.Int64,
        "rate_milli": pl.Int64,
        "bl": pl.Int64,
    }
)
"""What is read of the CMCD of one request."""

WITH_PICTURES = ("v", "av")
DELIVERED = (200, 299)
MEDIA_MS_MAX = 24 * 3_600_000  # no object of a stream plays longer
RATE_MILLI_MAX = 1_000_000
NORMAL_RATE_MILLI = 1000
ENCODED = r"%(?:[0189A-Fa-f][0-9A-Fa-f]|7[Ff])"
NOT_ASCII = "\x00"
ARGUMENT = r"(?:^|&)CMCD=([^&]*)"

KEY = r"[a-z*][a-z0-9_.*-]*"
VALUE = (
    r'(?:"[^"\\]*"|-?[0-9]{1,12}(?:\.[0-9]{1,3})?|\?[01]|[A-Za-z*][A-Za-z0-9:/._*-]*'
    r'|\([^()"\\]*\)|\((?:"[^"\\]*" ?)+\))'
)
PLAIN = rf"^{KEY}(?:={VALUE})?(?:,{KEY}(?:={VALUE})?)*$"
ONCE = ("sid", "cid", "ot", "d", "pr", "bl", "v")


def media_of(requests: pl.DataFrame, mapping: CdnMapping) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The delivered media of requests, and rows of BAD without bytes for CMCD that is none.

    Returns: rows of DELIVERY in the order of the requests. What has no CMCD, failed, or is no
    object with pictures gives no row: it is a request like any other, and nothing is wrong with it.
    """
    delivered = requests.filter(
        pl.col("status").is_between(*DELIVERED)
        & ~pl.col("method").fill_null("GET").str.to_uppercase().is_in(["HEAD", "OPTIONS"])
    )
    facts, bad = facts_of(delivered, mapping)
    found = pl.concat([delivered, facts], how="horizontal").filter(
        pl.col("sid").is_not_null()
        & (pl.col("sid") != "")
        & pl.col("ot").is_in(WITH_PICTURES)
        & pl.col("d").is_between(1, MEDIA_MS_MAX)
    )
    rows = found.select(
        "time",
        pl.lit(mapping.id).alias("source"),
        "request",
        pl.col("sid").alias("session"),
        pl.col("cid").alias("content"),
        pl.concat_str("host", "path", pl.concat_str(pl.lit(" "), "range"), ignore_nulls=True).alias(
            "object"
        ),
        pl.col("d").alias("media_ms"),
        pl.col("rate_milli").fill_null(NORMAL_RATE_MILLI),
        pl.col("bl").alias("buffer_ms"),
        "bytes",
    )
    return rows.cast(DELIVERY), bad


def facts_of(requests: pl.DataFrame, mapping: CdnMapping) -> tuple[pl.DataFrame, pl.DataFrame]:
    """FACTS for each request, in order, and rows of BAD for CMCD that cannot be read."""
    texts = requests.with_row_index("row").with_columns(cmcd_text(mapping).alias("cmcd"))
    texts = texts.with_columns(blanked().alias("blank"))
    is_plain = plainness()
    plain = texts.filter(is_plain).select("row", *plain_facts())
    rest = texts.filter(pl.col("cmcd").is_not_null() & ~is_plain)
    exact, bad = exact_facts(rest, mapping)
    known = pl.concat([plain.cast(pl.Schema({"row": pl.Int64} | dict(FACTS))), exact])
    facts = texts.select(pl.col("row").cast(pl.Int64)).join(
        known, on="row", how="left", maintain_order="left"
    )
    return with_fields(facts.drop("row"), requests, mapping), bad


def cmcd_text(mapping: CdnMapping) -> pl.Expr:
    """The CMCD of a request as text: of its headers, or if there are none, of its query.

    What is percent-encoded and no printable ASCII becomes NOT_ASCII, which no plain text holds.
    """
    headers = decoded(pl.col("header_text"), mapping.column_decodings)
    query = decoded(pl.col("query"), mapping.decodings - 1)
    argument = query.str.extract(ARGUMENT).str.replace_all("+", " ", literal=True)
    marked = argument.str.replace_all(ENCODED, NOT_ASCII)
    if mapping.column_decodings:
        headers = headers.str.replace_all(ENCODED, NOT_ASCII)
    return pl.coalesce(headers, decoded(marked, 1))


def plainness() -> pl.Expr:
    """Whether a text is CMCD that can be read from columns: well formed, each key once."""
    cmcd = pl.col("cmcd")
    blank = pl.col("blank")
    once = [blank.str.count_matches(rf"(?:^|,){key}(?:=|,|$)") <= 1 for key in ONCE]
    told = [cmcd.str.count_matches(f"{key}=", literal=True) <= 1 for key in ("sid", "cid")]
    typed = (
        ~blank.str.contains(r'(?:^|,)(?:sid|cid)(?:=[^"]|,|$)')
        & ~blank.str.contains(r"(?:^|,)(?:d|bl|v|pr|ot)(?:,|$)")
        & ~blank.str.contains(r"(?:^|,)d=(?:[^0-9]|[0-9]+[^0-9,])")
        & ~blank.str.contains(r"(?:^|,)ot=[^a-z]")
        & ~blank.str.contains(r"(?:^|,)pr=[^0-9]")
        & ~blank.str.contains(r"(?:^|,)bl=(?:[^0-9(]|\([^0-9])")
        & ~blank.str.contains(r"(?:^|,)v=(?:[^12]|[12][^,])")
    )
    is_ascii = ~cmcd.str.contains(r"[^ -~]")
    return pl.all_horizontal(cmcd.str.contains(PLAIN), is_ascii, typed, *once, *told).fill_null(
        value=False
    )


def blanked() -> pl.Expr:
    """The text with nothing left in its strings, so that no key is seen where there is none."""
    return pl.col("cmcd").str.replace_all(r'"[^"\\]*"', '""')


def plain_facts() -> list[pl.Expr]:
    """FACTS of texts that are plain; `blank` is the text as `blanked` leaves it."""
    blank = pl.col("blank")
    rate = blank.str.extract_groups(r"(?:^|,)pr=([0-9]+)(?:\.([0-9]+))?")
    thousandths = rate.struct[1].fill_null("").str.pad_end(3, "0")
    return [
        pl.col("cmcd").str.extract(r'(?:^|,)sid="([^"\\]*)"').alias("sid"),
        pl.col("cmcd").str.extract(r'(?:^|,)cid="([^"\\]*)"').alias("cid"),
        blank.str.extract(r"(?:^|,)ot=(av?|[cikmov]|tt)(?:,|$)").alias("ot"),
        blank.str.extract(r"(?:^|,)d=([0-9]+)").cast(pl.Int64).alias("d"),
        (rate.struct[0].cast(pl.Int64) * 1000 + thousandths.cast(pl.Int64)).alias("rate_milli"),
        blank.str.extract(r"(?:^|,)bl=\(?([0-9]+)").cast(pl.Int64).alias("bl"),
    ]


def exact_facts(requests: pl.DataFrame, mapping: CdnMapping) -> tuple[pl.DataFrame, pl.DataFrame]:
    """FACTS of each request by the codec, with its `row`, and rows of BAD."""
    rows: list[dict[str, Any]] = []
    bad: list[dict[str, Any]] = []
    columns = requests.select("row", "number", "header_text", "query")
    for row, number, header, query in columns.iter_rows():
        try:
            record = read_record(
                unquoted(header, mapping.column_decodings)
                if header
                else argument_of(query or "", mapping.decodings)
            )
        except Rejected as rejected:
            detail = f"its CMCD cannot be read: {rejected.reason}"
            bad.append({"number": number, "detail": detail, "raw": None})
        else:
            rows.append({"row": row} | facts_of_record(record))
    return (
        pl.DataFrame(rows, schema={"row": pl.Int64} | dict(FACTS)),
        pl.DataFrame(bad, schema=BAD),
    )


def unquoted(text: str, times: int) -> str:
    """A text with percent-encoding taken off, so often."""
    for _ in range(times):
        text = unquote(text)
    return text


def argument_of(query: str, decodings: int) -> str:
    """The argument CMCD of a query that is percent-encoded so often."""
    for argument in unquoted(query, decodings - 1).split("&"):
        if argument.startswith("CMCD="):
            return unquote_plus(argument.removeprefix("CMCD="))
    return ""


def facts_of_record(record: Record) -> dict[str, Any]:
    """FACTS of one record that the codec has read."""
    values = record.values
    rate = values.get("pr")
    rate_milli = int(Decimal(rate) * 1000) if isinstance(rate, int | Decimal) else None
    buffered: Any = values.get("bl")
    if isinstance(buffered, tuple):
        buffered = buffered[0].value if buffered else None
    texts = {key: values.get(key) for key in ("sid", "cid", "ot")}
    duration = values.get("d")
    return {
        **{key: str(text) if isinstance(text, str) else None for key, text in texts.items()},
        "d": duration if isinstance(duration, int) else None,
        "rate_milli": rate_milli,
        "bl": buffered if isinstance(buffered, int) else None,
    }


def with_fields(facts: pl.DataFrame, requests: pl.DataFrame, mapping: CdnMapping) -> pl.DataFrame:
    """Facts with those in front that the CDN has put into columns of their own."""
    given = mapping.cmcd_fields
    whole = pl.concat([facts, requests.select(f"field_{key}" for key in given)], how="horizontal")
    numbers = {"d": "d", "bl": "bl"}
    texts = [
        pl.coalesce(pl.col(f"field_{key}").replace("", None), key).alias(key)
        for key in ("sid", "cid", "ot")
        if key in given
    ]
    counts = [
        pl.coalesce(
            pl.col(f"field_{key}").str.extract(r"([0-9]+)").cast(pl.Int64, strict=False), key
        ).alias(key)
        for key in numbers
        if key in given
    ]
    whole = whole.with_columns(*texts, *counts)
    if "pr" in given:
        rate = pl.col("field_pr").str.extract_groups(r"^([0-9]{1,6})(?:\.([0-9]{1,3}))?")
        thousandths = rate.struct[1].fill_null("").str.pad_end(3, "0").cast(pl.Int64)
        said = rate.struct[0].cast(pl.Int64) * 1000 + thousandths
        whole = whole.with_columns(pl.coalesce(said, "rate_milli").alias("rate_milli"))
    return whole.select(FACTS.names())
