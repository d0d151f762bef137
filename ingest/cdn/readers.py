"""Lines of a CDN's log to columns of text, by the shape of the log.

Three shapes cover all: W3C extended, whose `#Fields` line names the columns; a list of columns
that somebody gives; JSON lines. A line that does not fit is kept apart, with its number.
Source: W3C Extended Log File Format; RFC 7937 for CDNI, which differs in the case of `#fields`.
"""

from __future__ import annotations

import io
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import polars as pl

from ingest.cdn.mapping import CdnMapping, json_path
from ingest.json_exact import MalformedError, Number, parse_json, shown

if TYPE_CHECKING:
    from collections.abc import Iterator

BAD = pl.Schema({"number": pl.Int64, "detail": pl.String, "raw": pl.Binary})
"""A line that is no request of the log: its number in the file, what is wrong, and its bytes."""

DIRECTIVE = b"#"
FIELDS_DIRECTIVE = "#fields:"
QUOTED = r'"(?:[^"\\]|\\.)*"|\[[^\]]*\]|[^ ]+'
ESCAPED = {r"\"": '"', r"\\": "\\", r"\x22": '"', r"\x5C": "\\", r"\x5c": "\\"}


@dataclass(slots=True)
class LogReader:
    """Reads the lines of one file, block after block, since a header counts until the next.

    mapping: of the CDN. columns: those in force, of W3C from the last header on.
    """

    mapping: CdnMapping
    columns: tuple[str, ...] = ()
    lines_read: int = 0
    bad: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Where the log does not name its columns, the mapping does."""
        self.columns = self.columns or self.mapping.columns

    def read(self, block: bytes) -> tuple[pl.DataFrame, pl.DataFrame]:
        """Read whole lines: a text column for each that the mapping reads, and the bad lines.

        Returns: `number` (of the line in the file, from 1) and the columns of `mapping.wanted()`,
        null where a line has none; and rows of BAD.
        """
        self.bad = []
        lines = lines_of(block, self.lines_read)
        self.lines_read += block.count(b"\n") + (not block.endswith(b"\n") and block != b"")
        reads = {"w3c": self._w3c, "columns": self._columns, "json": self._json}
        frames = list(reads[self.mapping.shape](lines))
        empty = pl.DataFrame(schema={"number": pl.Int64} | dict.fromkeys(self._wanted(), pl.String))
        found = with_absent(pl.concat([empty, *frames]), self.mapping)
        return found, pl.DataFrame(self.bad, schema=BAD)

    def _wanted(self) -> list[str]:
        return self.mapping.wanted()

    def _w3c(self, lines: pl.DataFrame) -> Iterator[pl.DataFrame]:
        """Each stretch of lines between two headers by the columns that are in force there."""
        is_directive = lines["line"].bin.starts_with(DIRECTIVE)
        begin = 0
        for at in [*is_directive.arg_true().to_list(), len(lines)]:
            if at > begin:
                yield from self._columns(lines.slice(begin, at - begin))
            if at < len(lines):
                text = lines["line"][at].decode("utf-8", "replace").strip()
                if text.lower().startswith(FIELDS_DIRECTIVE):
                    self.columns = tuple(text[len(FIELDS_DIRECTIVE) :].split())
            begin = at + 1

    def _columns(self, lines: pl.DataFrame) -> Iterator[pl.DataFrame]:
        """Lines whose columns are known: cut at the separator."""
        if not self.columns:
            self._refuse(lines, "no #Fields line before it says what its columns are")
            return
        texts = self._texts(lines).with_columns(cut_columns(self.mapping))
        fits = texts["text"].list.len() == len(self.columns)
        for (count,), some in texts.filter(~fits).group_by(
            pl.col("text").list.len(), maintain_order=True
        ):
            why = f"the line has {count} columns, expected the {len(self.columns)} of the log"
            self._refuse(some, why)
        yield texts.filter(fits).select(
            "number",
            *(
                pl.col("text").list.get(self.columns.index(name)).alias(name)
                if name in self.columns
                else pl.lit(None, pl.String).alias(name)
                for name in self._wanted()
            ),
        )

    def _json(self, lines: pl.DataFrame) -> Iterator[pl.DataFrame]:
        """JSON lines: all at once where all are well formed, else one at a time."""
        texts = self._texts(lines)
        found = json_columns(texts, self._wanted())
        if found is None:
            rows = []
            for number, line in texts.select("number", "line").iter_rows():
                try:
                    rows.append({"number": number} | json_row(line, self._wanted()))
                except MalformedError as error:
                    self.bad.append({"number": number, "detail": str(error), "raw": line})
            schema = {"number": pl.Int64} | dict.fromkeys(self._wanted(), pl.String)
            found = pl.DataFrame(rows, schema=schema)
        yield found

    def _texts(self, lines: pl.DataFrame) -> pl.DataFrame:
        """The lines that are UTF-8, as `text` too."""
        texts = lines.with_columns(utf8(lines["line"]).alias("text"))
        self._refuse(texts.filter(pl.col("text").is_null()), "the line is not UTF-8")
        return texts.filter(pl.col("text").is_not_null())

    def _refuse(self, lines: pl.DataFrame, why: str) -> None:
        self.bad += [
            {"number": number, "detail": why, "raw": line}
            for number, line in lines.select("number", "line").iter_rows()
        ]


def with_absent(columns: pl.DataFrame, mapping: CdnMapping) -> pl.DataFrame:
    """Columns with nothing, or an empty text, in place of what the log writes for it."""
    return columns.with_columns(
        pl.when(pl.col(name).is_in(mapping.absent))
        .then(None)
        .when(pl.col(name).is_in(mapping.empty))
        .then(pl.lit(""))
        .otherwise(pl.col(name))
        .alias(name)
        for name in mapping.wanted()
    )


def cut_columns(mapping: CdnMapping) -> pl.Expr:
    """The text of lines as lists of their columns, without the quotes or brackets around one."""
    if not mapping.is_quoted:
        return pl.col("text").str.split(mapping.separator)
    column = pl.element()
    inner = column.str.slice(1, column.str.len_chars() - 2)
    unescaped = inner.str.replace_many(list(ESCAPED), list(ESCAPED.values()))
    return (
        pl.col("text")
        .str.extract_all(QUOTED)
        .list.eval(
            pl.when(column.str.contains(r'^"(?s:.*)"$'))
            .then(unescaped)
            .when(column.str.contains(r"^\[(?s:.*)\]$"))
            .then(inner)
            .otherwise(column)
        )
    )


def lines_of(block: bytes, lines_before: int) -> pl.DataFrame:
    """The lines of a block that are not blank: `number` and `line`, without its end."""
    lines = pl.Series("line", block.split(b"\n"), dtype=pl.Binary)
    frame = pl.DataFrame({"line": lines}).with_row_index("number", lines_before + 1)
    stripped = pl.when(pl.col("line").bin.ends_with(b"\r")).then(
        pl.col("line").bin.slice(0, pl.col("line").bin.size() - 1)
    )
    return frame.select(
        pl.col("number").cast(pl.Int64), stripped.otherwise(pl.col("line")).alias("line")
    ).filter(pl.col("line").bin.size() > 0)


def utf8(lines: pl.Series) -> pl.Series:
    """Lines as text; null where one is not UTF-8."""
    try:
        return lines.cast(pl.String)
    except pl.exceptions.ComputeError:  # the cast is of all lines or of none
        return pl.Series([decoded(line) for line in lines.to_list()], dtype=pl.String)


def decoded(line: bytes) -> str | None:
    """One line as text; None where it is not UTF-8."""
    try:
        return line.decode()
    except UnicodeDecodeError:
        return None


def json_columns(texts: pl.DataFrame, wanted: list[str]) -> pl.DataFrame | None:
    """The wanted columns of JSON lines, as text; None where not every line is a plain object."""
    keys = {name: json_path(name) for name in wanted}
    if any(len(path) > 1 for path in keys.values()):
        return None
    names = dict.fromkeys(path[0] for path in keys.values())
    block = b"\n".join(texts["line"].to_list())
    if not block:
        return pl.DataFrame(schema={"number": pl.Int64} | dict.fromkeys(wanted, pl.String))
    try:
        read = pl.read_ndjson(io.BytesIO(block), schema=dict.fromkeys(names, pl.String))
    except pl.exceptions.PolarsError:
        return None
    if len(read) != len(texts):
        return None
    return texts.select("number").with_columns(
        read[path[0]].alias(name) for name, path in keys.items()
    )


def json_row(line: bytes, wanted: list[str]) -> dict[str, str | None]:
    """The wanted columns of one JSON line, as text. Raises: MalformedError."""
    parsed = parse_json(line)
    if not isinstance(parsed, dict):
        raise MalformedError(f"the line is {shown(parsed)}, expected a JSON object")
    return {name: json_text(parsed, json_path(name)) for name in wanted}


def json_text(value: Any, path: tuple[str, ...]) -> str | None:
    """What stands at a path, as text; None if nothing does."""
    for step in path:
        if not isinstance(value, dict):
            return None
        value = value.get(step)
    if value is None:
        return None
    if isinstance(value, Number):
        return value.text
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    return text.encode("utf-8", "replace").decode()
