"""A CDN's mapping file: the shape of its log, and which column says what.

The files of well-known CDNs are in `ingest/cdn/mappings`; an operator writes one for another.
docs/senders/cdn.md has the whole format.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from ingest.adapters.mapping_files import MappingError, Table, parse_mapping, raise_mistakes

SHAPES = ("w3c", "columns", "json")
FORMS = ("s", "ms", "us", "ns", "rfc3339", "clf", "date time")
COLUMNS = ("host", "path", "query", "url", "line", "range", "request", "bytes", "method")
CMCD_FIELDS = ("sid", "cid", "ot", "d", "pr", "bl")
DECODINGS_MAX = 4
SEPARATORS = {"tab": "\t", "space": " ", "pipe": "|", "comma": ","}

PathParts = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CdnMapping:
    """How to read the log of one CDN.

    shape: `w3c` names its columns itself, `columns` has those of `columns` in that order, `json`
    has one object a line. is_quoted: a column may stand in quotes or in brackets. absent, empty:
    texts that stand for no value, and for the empty one.
    time: one column, or a date and a time. form: how the time is written.
    sources: the column of each of COLUMNS that the log has. cmcd_columns: hold CMCD as text, as
    its headers do. cmcd_fields: hold one key each. decodings, column_decodings: how often
    percent-encoding is to be taken off the query, and off the columns of CMCD.
    """

    id: str
    shape: str
    separator: str
    is_quoted: bool
    columns: tuple[str, ...]
    absent: tuple[str, ...]
    empty: tuple[str, ...]
    time: tuple[str, ...]
    form: str
    status: str
    sources: dict[str, str]
    cmcd_columns: tuple[str, ...]
    cmcd_fields: dict[str, str]
    decodings: int
    column_decodings: int

    def wanted(self) -> list[str]:
        """Every column that is read, once."""
        named = (*self.time, self.status, *self.sources.values(), *self.cmcd_columns)
        return list(dict.fromkeys((*named, *self.cmcd_fields.values())))


def shipped_names() -> list[str]:
    """The CDNs that come with a mapping file."""
    folder = resources.files(__package__) / "mappings"
    return sorted(Path(one.name).stem for one in folder.iterdir() if one.name.endswith(".toml"))


def load_cdn_mapping(named: str) -> CdnMapping:
    """The mapping of a CDN that is known by name, or that a file is given for.

    Raises: MappingError with every mistake; OSError if the file cannot be read.
    """
    if named in shipped_names():
        file = resources.files(__package__) / "mappings" / f"{named}.toml"
        return read_cdn_mapping(file.read_text(encoding="utf-8"), named)
    if not named.endswith(".toml"):
        raise MappingError(
            named,
            [f"no CDN is known by this name: give a .toml or one of {', '.join(shipped_names())}"],
        )
    try:
        return read_cdn_mapping(Path(named).read_text(encoding="utf-8"), named)
    except UnicodeDecodeError as error:
        raise MappingError(named, [f"it is not UTF-8: {error}"]) from error


def read_cdn_mapping(text: str, name: str) -> CdnMapping:
    """Check a mapping file. Raises: MappingError with every mistake."""
    root = parse_mapping(text, name)
    cdn = root.table("cdn")
    mapping_id = cdn.text("id")
    shape = cdn.word("shape", SHAPES)
    separator = SEPARATORS[cdn.word("separator", SEPARATORS, "tab")]
    columns = cdn.texts("columns")
    absent, empty = cdn.texts("absent"), cdn.texts("empty")
    is_quoted = cdn.take("quoted", False)
    if type(is_quoted) is not bool or (is_quoted and (shape, separator) != ("columns", " ")):
        cdn.wrong("quoted", "has to be true or false, and true only with columns and spaces")
    if cdn.take("sampled", False) is not False:
        cdn.wrong("sampled", "must not be set: a sample says nothing about how much was delivered")
    if (shape == "columns") != bool(columns):
        cdn.wrong("columns", "has to name the columns in order, where the shape is columns")
    if len(set(columns)) < len(columns):
        cdn.wrong("columns", "names a column twice")
    cdn.end()
    time, form, status, sources = read_sources(root.table("columns"))
    cmcd = root.table("cmcd")
    cmcd_columns = cmcd.texts("columns")
    keys = cmcd.table("fields")
    cmcd_fields = {key: keys.text(key) for key in keys.names() if key in CMCD_FIELDS}
    keys.end()
    decodings = cmcd.integer("decodings", 1, 1, DECODINGS_MAX)
    column_decodings = cmcd.integer("column_decodings", 0, 0, DECODINGS_MAX)
    cmcd.end()
    root.end()
    mapping = CdnMapping(
        id=mapping_id,
        shape=shape,
        separator=separator,
        is_quoted=is_quoted,
        columns=columns,
        absent=absent,
        empty=empty,
        time=time,
        form=form,
        status=status,
        sources=sources,
        cmcd_columns=cmcd_columns,
        cmcd_fields=cmcd_fields,
        decodings=decodings,
        column_decodings=column_decodings,
    )
    check_columns(mapping, root)
    raise_mistakes(root, name)
    return mapping


def read_sources(table: Table) -> tuple[tuple[str, ...], str, str, dict[str, str]]:
    """The columns of the time, its form, the column of the status, and the others."""
    moment = table.table("time")
    time, form = moment.texts("from"), moment.word("form", FORMS)
    if len(time) != (2 if form == "date time" else 1):
        moment.wrong("from", "has to be one column, or the date's and the time's for 'date time'")
    moment.end()
    status = table.text("status")
    sources = {name: table.text(name) for name in table.names() if name in COLUMNS}
    if sum(name in sources for name in ("url", "path", "line")) != 1:
        table.wrong("path", "or url or line has to be given, and no two of them")
    table.end()
    return time, form, status, sources


def check_columns(mapping: CdnMapping, root: Table) -> None:
    """Note every column that the log cannot have."""
    if mapping.shape != "columns":
        return
    for name in mapping.wanted():
        if name not in mapping.columns:
            root.wrong("cdn.columns", f"lacks {name!r}, which is read")


def json_path(column: str) -> PathParts:
    r"""The way to a column of a JSON log: keys with dots between them; \. is a dot inside one."""
    return tuple(part.replace("\0", ".") for part in column.replace(r"\.", "\0").split("."))
