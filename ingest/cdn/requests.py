"""Columns of a CDN's log to requests: when, what came of it, for which object, with which CMCD."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import polars as pl

from ingest.cdn.readers import BAD

if TYPE_CHECKING:
    from ingest.cdn.mapping import CdnMapping

DECIMALS_OF_MS = 3
FINER_THAN_MS = {"ms": 1, "us": 1_000, "ns": 1_000_000}
YEAR_2200_MS = 7_258_118_400_000
WRITTEN = {"rfc3339": "%+", "clf": "%d/%b/%Y:%H:%M:%S %z"}
REQUEST_LINE = r"^([A-Za-z]+) (.*?)(?: HTTP/[0-9.]+)?$"
MARK = r"^//[^/]*/"  # before the CMCD of Akamai's logs: //1.0@V/bl=...
OF_LINE = {"method": "line: method", "url": "line: url"}
ABSOLUTE_URL = r"^[a-zA-Z][a-zA-Z0-9+.-]*://[^/?#]*"

# Only what ASCII can print is decoded here; the rest is left to the exact reader.
ESCAPES = [f"%{code:02{case}}" for code in range(0x20, 0x7F) for case in ("x", "X")]
DECODED = [chr(code) for code in range(0x20, 0x7F) for _ in "xX"]


def requests_of(columns: pl.DataFrame, mapping: CdnMapping) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The requests that lines of a log are, and rows of BAD without bytes for those that are none.

    Returns: `number`, `time` (ms since the epoch), `status`, `method`, `host`, `path`, `range`,
    `request`, `bytes`, `query` and `header_text` (both still percent-encoded), and the fields of `mapping.cmcd_fields` as `field_` columns.
    """
    found = with_line(columns, mapping).select(
        "number",
        moment(mapping).alias("time"),
        pl.col(mapping.status).cast(pl.Int32, strict=False).alias("status"),
        *(source(mapping, name).alias(name) for name in ("method", "range", "request")),
        source(mapping, "bytes").cast(pl.Int64, strict=False).alias("bytes"),
        host(mapping).alias("host"),
        path(mapping).alias("path"),
        query(mapping).alias("query"),
        header_text(mapping).alias("header_text"),
        *(
            decoded(pl.col(column), mapping.column_decodings)
            .str.strip_chars('"')
            .alias(f"field_{key}")
            for key, column in mapping.cmcd_fields.items()
        ),
    )
    faults = [
        (pl.col("time").is_null(), f"no time in {' and '.join(mapping.time)} ({mapping.form})"),
        (pl.col("status").is_null(), f"no status in {mapping.status}"),
        (pl.col("path").is_null(), "no path or URL"),
    ]
    is_bad = functools.reduce(lambda one, other: one | other, (fault for fault, _ in faults))
    detail = functools.reduce(
        lambda rest, fault: pl.when(fault[0]).then(pl.lit(fault[1])).otherwise(rest),
        reversed(faults),
        pl.lit(None, pl.String),
    )
    bad = found.filter(is_bad).select(
        "number", detail.alias("detail"), pl.lit(None, pl.Binary).alias("raw")
    )
    return found.filter(~is_bad), bad.cast(BAD)


def with_line(columns: pl.DataFrame, mapping: CdnMapping) -> pl.DataFrame:
    """Columns with the method and the URL of a request line (`GET /a?b HTTP/1.1`) as two more."""
    if "line" not in mapping.sources:
        return columns
    parts = pl.col(mapping.sources["line"]).str.extract_groups(REQUEST_LINE)
    return columns.with_columns(
        parts.struct[place].alias(name) for place, name in enumerate(OF_LINE.values())
    )


def source(mapping: CdnMapping, name: str) -> pl.Expr:
    """The column that a mapping names for one thing; null where the log has none."""
    column = mapping.sources.get(name)
    if "line" in mapping.sources and name in OF_LINE:
        column = OF_LINE[name]
    return pl.lit(None, pl.String) if column is None else pl.col(column)


def moment(mapping: CdnMapping) -> pl.Expr:
    """When, in ms since the epoch."""
    if mapping.form == "date time":
        text = pl.concat_str(*mapping.time, separator="T")
        return parsed(text, "%Y-%m-%dT%H:%M:%S%.f")
    text = pl.col(mapping.time[0])
    if mapping.form in WRITTEN:
        return parsed(text, WRITTEN[mapping.form])
    parts = text.str.extract_groups(r"^([0-9]{1,19})(?:\.([0-9]+))?$")
    whole = parts.struct[0].cast(pl.Int64, strict=False)
    if mapping.form == "s":
        thousandths = parts.struct[1].fill_null("").str.slice(0, DECIMALS_OF_MS)
        ms = thousandths.str.pad_end(DECIMALS_OF_MS, "0").cast(pl.Int64)
        # A multiplication wraps in silence, so what cannot be a time goes before it.
        whole = pl.when(whole <= YEAR_2200_MS // 1000).then(whole * 1000 + ms)
    else:
        whole = whole // FINER_THAN_MS[mapping.form]
    return pl.when(whole <= YEAR_2200_MS).then(whole)


def parsed(text: pl.Expr, form: str) -> pl.Expr:
    """A written time in ms; null where it is none."""
    read = text.str.to_datetime(form, strict=False, time_unit="us", time_zone="UTC")
    ms = read.dt.timestamp("ms")
    return pl.when(ms.is_between(0, YEAR_2200_MS)).then(ms)


def host(mapping: CdnMapping) -> pl.Expr:
    """The host, from its own column or from a whole URL; empty without."""
    if "host" in mapping.sources:
        return source(mapping, "host").fill_null("").str.to_lowercase()
    within = source(mapping, "url").str.extract(r"^[a-zA-Z][a-zA-Z0-9+.-]*://([^/?#]*)")
    return within.fill_null("").str.to_lowercase()


def path(mapping: CdnMapping) -> pl.Expr:
    """The path, without host and query."""
    if "path" in mapping.sources:
        return source(mapping, "path").str.extract(r"^([^?]*)")
    return source(mapping, "url").str.replace(ABSOLUTE_URL, "").str.extract(r"^([^?#]*)")


def query(mapping: CdnMapping) -> pl.Expr:
    """The query, from its own column or from behind the path; null without."""
    if "query" in mapping.sources:
        return source(mapping, "query").str.strip_prefix("?")
    name = "path" if "path" in mapping.sources else "url"
    return source(mapping, name).str.extract(r"\?([^#]*)")


def header_text(mapping: CdnMapping) -> pl.Expr:
    """What the columns with CMCD headers say, as one text, still encoded; null without."""
    if not mapping.cmcd_columns:
        return pl.lit(None, pl.String)
    stripped = [
        pl.col(name).str.strip_chars().str.replace(MARK, "") for name in mapping.cmcd_columns
    ]
    texts = [pl.when(text != "").then(text) for text in stripped]
    joined = pl.concat_str(*texts, separator=",", ignore_nulls=True)
    return pl.when(pl.any_horizontal(text.is_not_null() for text in texts)).then(joined)


def decoded(text: pl.Expr, times: int) -> pl.Expr:
    """A text with percent-encoding taken off, so often, from what ASCII can print."""
    for _ in range(times):
        text = text.str.replace_many(ESCAPES, DECODED)
    return text
