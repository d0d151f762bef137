"""Requests to delivered media: which session got which object, and how much time it plays.

CMCD is found in the columns of a log and read from there, all records at once; what the compiled
readers are not sure of is decoded and read one by one.
Only objects with pictures count (`v`, `av`), so that sound is not counted beside them.
Source: CTA-5004-B sections 3 and 5.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import unquote, unquote_plus

import polars as pl

from ingest.cdn.readers import BAD
from ingest.cmcd import Record, Rejected, read_record
from ingest.cmcd.columns import read_columns
from ingest.percent import decoded_arguments, decoded_texts
from ingest.text_columns import Texts, texts_of

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
ARGUMENT = "CMCD"
ASKED = ("sid", "cid", "ot", "d", "pr", "bl")  # keys of which FACTS are made


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

    def read(row: int) -> Record:
        header, query = requests["header_text"][row], requests["query"][row]
        return read_record(
            unquoted(header, mapping.column_decodings)
            if header
            else argument_of(query or "", mapping.decodings)
        )

    found = read_columns(cmcd_of(requests, mapping), ASKED, read)
    bad = [
        {
            "number": requests["number"][row],
            "detail": f"its CMCD cannot be read: {record.reason}",
            "raw": None,
        }
        for row, record in found.exact.items()
        if isinstance(record, Rejected)
    ]
    facts = found.frame.with_columns(
        pl.col("bl").list.first().struct.field("value").alias("bl"),
        pl.col("pr").alias("rate_milli"),
    )
    return with_fields(facts, requests, mapping), pl.DataFrame(bad, schema=BAD)


def cmcd_of(requests: pl.DataFrame, mapping: CdnMapping) -> Texts | pl.Series:
    """The CMCD of each request: of its headers, or if there are none, of its query."""
    queries = texts_of(requests["query"])
    arguments = decoded_arguments(queries, ARGUMENT.encode(), mapping.decodings)
    if not mapping.cmcd_columns:
        return arguments
    headers = decoded_texts(texts_of(requests["header_text"]), mapping.column_decodings)
    return pl.select(pl.coalesce(headers.column(), arguments.column())).to_series()


def unquoted(text: str, times: int) -> str:
    """A text with percent-encoding taken off, so often."""
    for _ in range(times):
        text = unquote(text)
    return text


def argument_of(query: str, decodings: int) -> str:
    """The argument CMCD of a query that is percent-encoded so often."""
    for argument in unquoted(query, decodings - 1).split("&"):
        name, equals, value = argument.partition("=")
        if name == ARGUMENT and equals:
            return unquote_plus(value)
    return ""


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
