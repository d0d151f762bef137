"""Requests to delivered media: which session got which object, and how much time it plays.

CMCD is found in the columns of a log and read from there, all records at once; what the compiled
readers are not sure of is decoded and read one by one.
Only objects with pictures count (`v`, `av`), so that sound is not counted beside them.

A film in one file is fetched in byte ranges, each an object of its own. So where a log does not say
which range a partial answer (206) was, no two of them are taken for the same object.
Source: CTA-5004-B sections 3 and 5; RFC 9110 section 15.3.7.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import unquote

import numpy as np
import polars as pl

from ingest.cdn.readers import BAD
from ingest.cmcd import (
    ARGUMENTS,
    Record,
    Rejected,
    chosen_argument,
    find_arguments,
    read_record,
)
from ingest.cmcd.columns import read_columns
from ingest.cmcd.keys import OBJECT_TYPES
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
        "object": pl.String,  # host, path and range; of an unknown range what tells the request
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
PARTIAL = 206
NAMES = tuple(name.encode() for name in ARGUMENTS)
ASKED = ("sid", "cid", "ot", "d", "pr", "bl")  # keys of which FACTS are made


class Media(NamedTuple):
    """What requests come to.

    rows: of DELIVERY, in the order of the requests. bad: rows of BAD without bytes, for CMCD that is
    none. uncounted: how many delivered requests have CMCD that lacks a usable `sid`, `ot` or `d`, so
    that nothing can be said of what they brought.
    """

    rows: pl.DataFrame
    bad: pl.DataFrame
    uncounted: int


def media_of(requests: pl.DataFrame, mapping: CdnMapping) -> Media:
    """The delivered media of requests.

    What has no CMCD, failed, or is no object with pictures gives no row: it is a request like any
    other, and nothing is wrong with it.
    """
    delivered = requests.filter(
        pl.col("status").is_between(*DELIVERED)
        & ~pl.col("method").fill_null("GET").str.to_uppercase().is_in(["HEAD", "OPTIONS"])
    )
    facts, bad = facts_of(delivered, mapping)
    with_facts = pl.concat([delivered, facts], how="horizontal")
    is_media = (
        (pl.col("sid").fill_null("") != "")
        & pl.col("ot").is_in(WITH_PICTURES)
        & pl.col("d").is_between(1, MEDIA_MS_MAX)
    ).fill_null(value=False)
    is_other = pl.col("ot").is_in(sorted(OBJECT_TYPES - {*WITH_PICTURES})).fill_null(value=False)
    is_bad = pl.col("number").is_in(bad["number"].to_list())
    uncounted = with_facts.filter(pl.col("has_cmcd"), ~is_media, ~is_other, ~is_bad)
    rows = with_facts.filter(is_media).select(
        "time",
        pl.lit(mapping.id).alias("source"),
        "request",
        pl.col("sid").alias("session"),
        pl.col("cid").alias("content"),
        named_object().alias("object"),
        pl.col("d").alias("media_ms"),
        pl.col("rate_milli").fill_null(NORMAL_RATE_MILLI),
        pl.col("bl").alias("buffer_ms"),
        "bytes",
    )
    return Media(rows.cast(DELIVERY), bad, len(uncounted))


def named_object() -> pl.Expr:
    """What was delivered: host, path and range.

    A part of a file whose range the log does not have is known by the CDN's id of the request alone;
    without such an id, by when it was and how large.
    """
    of_request = pl.concat_str(
        pl.lit("?"),
        pl.coalesce(
            "request",
            pl.concat_str(pl.col("time"), pl.lit("/"), pl.col("bytes").fill_null(0)),
        ),
    )
    part = pl.coalesce("range", pl.when(pl.col("status") == PARTIAL).then(of_request))
    return pl.concat_str("host", "path", pl.concat_str(pl.lit(" "), part), ignore_nulls=True)


def facts_of(requests: pl.DataFrame, mapping: CdnMapping) -> tuple[pl.DataFrame, pl.DataFrame]:
    """FACTS for each request, in order, and rows of BAD for CMCD that cannot be read.

    Of FACTS there is one more column, `has_cmcd`: whether the request has any.
    """

    def read(row: int) -> Record:
        header, query = requests["header_text"][row], requests["query"][row]
        return read_record(
            unquoted(header, mapping.column_decodings)
            if header
            else argument_of(query or "", mapping.decodings)
        )

    texts = cmcd_of(requests, mapping)
    found = read_columns(texts, ASKED, read)
    bad = [
        {
            "number": requests["number"][row],
            "detail": f"its CMCD cannot be read: {record.reason}",
            "raw": None,
        }
        for row, record in found.exact.items()
        if isinstance(record, Rejected)
    ]
    facts = found.frame.select(
        "sid",
        "cid",
        "ot",
        "d",
        pl.col("pr").alias("rate_milli"),
        pl.col("bl").list.first().struct.field("value").alias("bl"),
    )
    has_cmcd = texts.is_present if isinstance(texts, Texts) else texts.is_not_null().to_numpy()
    facts = facts.with_columns(pl.Series("has_cmcd", has_cmcd, dtype=pl.Boolean))
    return with_fields(facts, requests, mapping), pl.DataFrame(bad, schema=BAD)


def cmcd_of(requests: pl.DataFrame, mapping: CdnMapping) -> Texts | pl.Series:
    """The CMCD of each request: of its headers, or if there are none, of its query."""
    arguments, counts = decoded_arguments(texts_of(requests["query"]), NAMES, mapping.decodings)
    several = np.flatnonzero(counts > 1)
    if not mapping.cmcd_columns and not len(several):
        return arguments
    column = arguments.column()
    if len(several):
        chosen = [
            argument_of(requests["query"][row], mapping.decodings).encode("utf-8", "replace")
            for row in several.tolist()
        ]
        column = column.scatter(several, chosen)
    headers = decoded_texts(texts_of(requests["header_text"]), mapping.column_decodings)
    return pl.select(pl.coalesce(headers.column(), column)).to_series()


def unquoted(text: str, times: int) -> str:
    """A text with percent-encoding taken off, so often."""
    for _ in range(times):
        text = unquote(text)
    return text


def argument_of(query: str, decodings: int) -> str:
    """The argument of CMCD that counts in a query that is percent-encoded so often."""
    arguments = find_arguments(unquoted(query, decodings - 1))
    return chosen_argument(arguments) if arguments else ""


def with_fields(facts: pl.DataFrame, requests: pl.DataFrame, mapping: CdnMapping) -> pl.DataFrame:
    """Facts with those in front that the CDN has put into columns of their own."""
    given = mapping.cmcd_fields
    if not given:
        return facts
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
    of_fields = [pl.col(f"field_{key}").fill_null("") != "" for key in given]
    return whole.select(*FACTS.names(), pl.any_horizontal("has_cmcd", *of_fields))
