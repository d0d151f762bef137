"""CSV of bulk data: rows of cells, with the separators that the box's profile happens to have.

A profile may set each of CSVEncoding.FieldSeparator, RowSeparator and EscapeCharacter, and no header
of the request says which: the header row does, since names of parameters hold none of them.
Source: TR-181 Device.BulkData.Profile.{i}.CSVEncoding; TR-369 annex on HTTP bulk data, R-BULK.11.
"""

from __future__ import annotations

import csv
import io
import re
from itertools import chain
from typing import NamedTuple

from ingest.json_exact import MalformedError, shown

NAME = r"(?:[\w.-]|\[[^\[\]]*\])+"  # of a parameter; in brackets an instance's alias
HEADER_CELL = re.compile(rf""" *(?:"{NAME}"|'{NAME}'|{NAME})""")
SEPARATOR = re.compile(r"""[^\w.\[\]"'-]+""")
LINE_ENDS = "\r\n"
DOUBLE, SINGLE = '"', "'"


class Form(NamedTuple):
    """How the cells of a body are written. row: empty where line ends part the rows."""

    field: str = ","
    row: str = ""
    escape: str = DOUBLE


def read_rows(body: bytes) -> list[list[str]]:
    """The rows of a body that are not blank, the header first. Raises: MalformedError."""
    try:
        text = body.decode("utf-8-sig").strip()
    except UnicodeDecodeError as error:
        raise MalformedError(f"the body is no CSV in UTF-8: {error}") from error
    form = form_of(text)
    rows = cut_rows(text, form)
    if form.escape == DOUBLE and DOUBLE not in text and stands_in_quotes(rows, SINGLE):
        rows = cut_rows(text, form._replace(escape=SINGLE))
    return rows


def form_of(text: str) -> Form:
    """The separators, as they stand behind the names of the header row. Raises: MalformedError."""
    first = HEADER_CELL.match(text)
    parting = SEPARATOR.match(text, first.end()) if first else None
    if first is None or parting is None or parting.group().strip(" ")[:1] in ("\r", "\n"):
        return Form()
    field = parting.group().strip(" ") or " "
    if len(field) > 1:
        raise MalformedError(
            f"the columns of the CSV are parted by {shown(field)}, and only one character can be "
            "read; set CSVEncoding.FieldSeparator of the box's profile to a comma"
        )
    at = first.end()
    while text.startswith(field, at) or text.startswith(f" {field}", at):
        cell = HEADER_CELL.match(text, text.index(field, at) + 1)
        if cell is None:
            break
        at = cell.end()
    row = SEPARATOR.match(text, at)
    said = row.group().strip(" ") if row else ""
    escape = SINGLE if first.group().endswith(SINGLE) else DOUBLE
    own = "" if said.startswith(("\r", "\n", field)) else said.strip(LINE_ENDS)
    return Form(field, own, escape)


def cut_rows(text: str, form: Form) -> list[list[str]]:
    """The rows of a text. Raises: MalformedError."""
    lines = own_rows(text, form) if form.row else io.StringIO(text, newline="")
    try:
        rows = list(
            csv.reader(
                lines,
                delimiter=form.field,
                quotechar=form.escape,
                skipinitialspace=True,
                strict=True,
            )
        )
    except csv.Error as error:
        raise MalformedError(f"the body is no CSV in UTF-8: {error}") from error
    return [row for row in rows if row]


def own_rows(text: str, form: Form) -> list[str]:
    """A text cut at its own row separator, but not between escape characters."""
    rows: list[list[str]] = [[]]
    for number, part in enumerate(text.split(form.escape)):
        if number % 2:
            rows[-1] += (form.escape, part, form.escape)
            continue
        first, *others = part.split(form.row)
        rows[-1].append(first)
        rows += ([other] for other in others)
    return ["".join(row).strip(LINE_ENDS) for row in rows]


def stands_in_quotes(rows: list[list[str]], quote: str) -> bool:
    """Whether each cell that begins with a character ends with it too, and one does."""
    quoted = [cell for cell in chain(*rows) if cell.startswith(quote)]
    return bool(quoted) and all(len(cell) > 1 and cell.endswith(quote) for cell in quoted)
