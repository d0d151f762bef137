"""The keys of CMCD: what each is called, holds and travels in.

Source: CTA-5004 (version 1) section 4; CTA-5004-B (version 2) section 4.3, table 1.
"""

from __future__ import annotations

import re
from typing import Final, Literal, NamedTuple

Kind = Literal["boolean", "integer", "decimal", "string", "token", "integers", "strings"]
Header = Literal["CMCD-Request", "CMCD-Object", "CMCD-Status", "CMCD-Session"]

REQUEST: Final = "CMCD-Request"
OBJECT: Final = "CMCD-Object"
STATUS: Final = "CMCD-Status"
SESSION: Final = "CMCD-Session"
HEADERS: Final[tuple[Header, ...]] = (REQUEST, OBJECT, STATUS, SESSION)

VERSION_MAX = (
    2  # a record of a later version is ignored whole, since its keys may mean other things
)

EVENTS = frozenset(
    (
        "abs",
        "abe",
        "ae",
        "as",
        "b",
        "bc",
        "c",
        "ce",
        "e",
        "h",
        "m",
        "pc",
        "pe",
        "pr",
        "ps",
        "rr",
        "sk",
        "t",
        "um",
    )
)
STATES = frozenset(("s", "p", "k", "r", "a", "w", "e", "f", "q", "d"))
OBJECT_TYPES = frozenset(("m", "a", "v", "av", "i", "c", "tt", "k", "o"))
FORMATS = frozenset(("d", "h", "e", "s", "o"))
STREAM_TYPES = frozenset(("v", "l", "ll"))

CUSTOM_CHARACTERS_MAX = 64
CUSTOM_KEY = re.compile(r"[a-z][a-z0-9]*(?:\.[a-z0-9]+)*-[a-z0-9_.*-]+")


class Key(NamedTuple):
    """One reserved key.

    kind: what its value is; `integers` and `strings` are inner lists, whose items may name the
    object types that they are of. unit: of a number, "" where it only counts. header: the one that
    it travels in, None where only bodies carry it. kind_1, header_1: the same in version 1, None
    where version 1 lacks the key or has it alike. since: the version that brought it.
    """

    name: str
    kind: Kind
    unit: str = ""
    header: Header | None = None
    since: int = 2
    until: int = VERSION_MAX
    kind_1: Kind | None = None
    header_1: Header | None = None
    tokens: frozenset[str] | None = None
    characters_max: int | None = None

    def kind_in(self, version: int) -> Kind | None:
        """What its value is in a version; None where that version lacks the key."""
        if not self.since <= version <= self.until:
            return None
        return (self.kind_1 or self.kind) if version == 1 else self.kind

    def header_in(self, version: int) -> Header | None:
        """The header that it travels in; None where it has none."""
        return (self.header_1 or self.header) if version == 1 else self.header


TABLE: Final[tuple[Key, ...]] = (
    Key("ab", "integers", "kbps", OBJECT),
    Key("bg", "boolean", header=STATUS),
    Key("bl", "integers", "ms", REQUEST, since=1, kind_1="integer"),
    Key("br", "integers", "kbps", OBJECT, since=1, kind_1="integer"),
    Key("bs", "boolean", header=STATUS, since=1),
    Key("bsa", "integers", header=STATUS),
    Key("bsd", "integers", "ms", STATUS),
    Key("bsda", "integers", "ms", STATUS),
    Key("cen", "string", characters_max=64),
    Key("cid", "string", header=SESSION, since=1, characters_max=128),
    Key("cmsdd", "string"),
    Key("cmsds", "string"),
    Key("cs", "string", header=REQUEST),
    Key("d", "integer", "ms", OBJECT, since=1),
    Key("dfa", "integer", header=REQUEST),
    Key("dl", "integer", "ms", REQUEST, since=1),
    Key("e", "token", tokens=EVENTS),
    Key("ec", "strings", header=STATUS),
    Key("h", "string", characters_max=128),
    Key("lab", "integers", "kbps", OBJECT),
    Key("lb", "integers", "kbps", OBJECT),
    Key("ltc", "integer", "ms", REQUEST),
    Key("msd", "integer", "ms", SESSION),
    Key("mtp", "integers", "kbps", REQUEST, since=1, kind_1="integer"),
    Key("nor", "strings", header=REQUEST, since=1, kind_1="string"),
    Key("nr", "boolean", header=STATUS),
    Key("nrr", "string", header=REQUEST, since=1, until=1),
    Key("ot", "token", header=OBJECT, since=1, tokens=OBJECT_TYPES),
    Key("pb", "integers", "kbps", REQUEST),
    Key("pr", "decimal", header=STATUS, since=1, header_1=SESSION),
    Key("pt", "integer", "ms", STATUS),
    Key("rc", "integer"),
    Key("rtp", "integer", "kbps", STATUS, since=1),
    Key("sf", "token", header=SESSION, since=1, tokens=FORMATS),
    Key("sid", "string", header=SESSION, since=1, characters_max=64),
    Key("smrt", "string"),
    Key("sn", "integer", header=REQUEST),
    Key("st", "token", header=SESSION, since=1, tokens=STREAM_TYPES),
    Key("sta", "token", header=REQUEST, tokens=STATES),
    Key("su", "boolean", header=REQUEST, since=1),
    Key("tab", "integers", "kbps", OBJECT),
    Key("tb", "integers", "kbps", OBJECT, since=1, kind_1="integer"),
    Key("tbl", "integers", "ms", REQUEST),
    Key("tpb", "integers", "kbps", OBJECT),
    Key("ts", "integer", "ms"),
    Key("ttfb", "integer", "ms"),
    Key("ttfbb", "integer", "ms"),
    Key("ttlb", "integer", "ms"),
    Key("url", "string"),
    Key("v", "integer", header=SESSION, since=1),
)
KEYS: Final[dict[str, Key]] = {key.name: key for key in TABLE}


def is_custom(name: str) -> bool:
    """Whether a key is a sender's own: a reversed domain name, a hyphen, a name."""
    return CUSTOM_KEY.fullmatch(name) is not None
