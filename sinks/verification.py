"""Whether a store still holds what its commits stored: its hash chain, walked from end to end.

Every link is recomputed from the one before; what the links say they added and changed is compared
with what the tables hold. Whoever can write everything can also write another chain; so heads that
were kept elsewhere are compared, too. Source: docs/adr/0014.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sinks.chain import (
    BEFORE_FIRST,
    DIGEST_BYTES,
    GONE,
    KINDS,
    SCHEMAS,
    UNKNOWN_FACTS,
    Head,
    frame_digest,
    table_of,
    unpack_changes,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import polars as pl

    from sinks.chain import Link
    from sinks.store import BillingStore, Kind

ROWS_AT_ONCE = 100_000
SAID_MAX = 20  # of one kind; the rest is a number
HEAD_DIGITS_MIN = 12  # of a digest; what the metric has
ABOUT = {
    "store": "rows about the store itself",
    "origin": "rows about the topic rated from",
    "partition": "partitions",
    "source": "sources",
    "state": "rows of state",
    "account": "accounts",
    "order": "orders",
    "book": "books",
    "sessions": "lists of open sessions",
}


@dataclass(slots=True)
class Findings:
    """What is not as it was committed, in sentences; of one kind the first ones."""

    said: list[str] = field(default_factory=list)
    counted: Counter[str] = field(default_factory=Counter)

    def add(self, kind: str, sentence: str) -> None:
        """Say it, unless enough of its kind was said."""
        self.counted[kind] += 1
        if self.counted[kind] <= SAID_MAX:
            self.said.append(sentence)

    def sentences(self) -> list[str]:
        """All that is said."""
        more = [
            f"and {count - SAID_MAX} more {kind}"
            for kind, count in self.counted.items()
            if count > SAID_MAX
        ]
        return self.said + more


@dataclass(frozen=True, slots=True)
class Verification:
    """What a walk over the chain came to.

    rows: charges, suspense rows and signals that a link vouches for and that were read.
    older: those from before the chain began, or before the heads that were given.
    """

    heads: tuple[Head, ...]
    links: int
    rows: int
    older: int
    findings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Span:
    """The rows of a kind that a link added: numbers in (upto - rows, upto]."""

    upto: int
    rows: int
    digest: bytes
    where: str

    @property
    def is_known(self) -> bool:
        """Whether there is a digest to compare with."""
        return self.digest != b""


@dataclass(slots=True)
class _Walk:
    """The chain as the links tell it.

    expected: the digest of each row that links vouch for, by its key. spans: by kind.
    """

    findings: Findings
    expected: dict[bytes, bytes] = field(default_factory=dict)
    spans: dict[Kind, list[_Span]] = field(default_factory=lambda: {kind: [] for kind in KINDS})
    heads: dict[int, Head] = field(default_factory=dict)
    links: int = 0

    def take(self, link: Link, trusted: Mapping[int, Head]) -> None:
        """Go one link further. trusted: heads up to which facts are not read again."""
        before = self.heads.get(link.partition, Head(link.partition, 0, BEFORE_FIRST))
        where = f"link {link.number} of {chain_name(link.partition)}"
        if link.number != before.number + 1:
            gap = f"the link before {where} is number {before.number}: some are gone"
            self.findings.add("links", gap)
        elif link.digest != link.expected_digest(before.digest):
            self.findings.add("links", f"{where} is not what its commit wrote")
        kept = trusted.get(link.partition)
        if kept is not None and kept.number == link.number and not _agrees(kept, link.digest):
            told = f"{where} is {link.digest.hex()}, and not {kept.digest.hex()} as it was kept"
            self.findings.add("heads", told)
        is_trusted = kept is not None and link.number <= kept.number
        self._take_facts(link, where, is_trusted=is_trusted)
        for key, row in unpack_changes(link.changes):
            if row == GONE:
                self.expected.pop(key, None)
            else:
                self.expected[key] = row
        self.heads[link.partition] = Head(link.partition, link.number, link.digest)
        self.links += 1

    def _take_facts(self, link: Link, where: str, *, is_trusted: bool) -> None:
        unread = is_trusted or link.facts == UNKNOWN_FACTS
        for place, kind in enumerate(KINDS):
            digest = link.facts[place * DIGEST_BYTES : (place + 1) * DIGEST_BYTES]
            if link.upto[place] or link.rows[place]:
                known = b"" if unread else digest
                self.spans[kind].append(_Span(link.upto[place], link.rows[place], known, where))


def verify(store: BillingStore, trusted: Sequence[Head] = ()) -> Verification:
    """Walk the chain of a store, and read all that it vouches for.

    trusted: heads that were kept elsewhere. They must be in the chain; charges, suspense and signals
    up to them are then taken for good and not read again.
    Raises: StoreError.
    """
    findings = Findings()
    with store.snapshot():
        walk = _Walk(findings)
        kept = {head.partition: head for head in trusted}
        for link in store.links():
            walk.take(link, kept)
        for head in trusted:
            if walk.heads.get(head.partition, Head(head.partition, 0, b"")).number < head.number:
                found = f"{chain_name(head.partition)} ends before the head that was kept: {head}"
                findings.add("heads", found)
        _compare_rows(store, walk)
        read = older = 0
        for kind, held in zip(KINDS, store.row_counts(), strict=True):
            counts = _compare_facts(store, kind, walk.spans[kind], findings)
            read, older = read + counts[0], older + counts[1]
            if held != sum(counts):
                said = f"the store has {held:,} {kind}, and commits account for {sum(counts):,}"
                findings.add(kind, said)
        for stray in store.strays():
            findings.add("strays", stray)
    heads = tuple(walk.heads[partition] for partition in sorted(walk.heads))
    return Verification(heads, walk.links, read, older, tuple(findings.sentences()))


def chain_name(partition: int) -> str:
    """What a chain is called."""
    return "the store's chain" if partition < 0 else f"partition {partition}"


def _agrees(kept: Head, digest: bytes) -> bool:
    return digest.startswith(kept.digest)


def _compare_rows(store: BillingStore, walk: _Walk) -> None:
    """Compare the rows that are changed by commits with what links say of them."""
    expected, findings = walk.expected, walk.findings
    for key, row, name in store.changes():
        wanted = expected.pop(key, None)
        if wanted is None:
            findings.add(ABOUT[table_of(key)], f"{name}: no commit wrote it")
        elif wanted != row:
            findings.add(ABOUT[table_of(key)], f"{name}: not as it was committed")
    for table, count in Counter(table_of(key) for key in expected).items():
        findings.add(ABOUT[table], f"{count:,} {ABOUT[table]} that were committed are not there")


def _compare_facts(
    store: BillingStore, kind: Kind, spans: list[_Span], findings: Findings
) -> tuple[int, int]:
    """Compare all rows of a kind with the links that added them.

    Returns: how many rows were compared, and how many are older than what is known.
    """
    spans.sort(key=lambda span: (span.upto, span.upto - span.rows))
    read = older = seen = 0
    together: list[_Span] = []
    for span in spans:
        if span.is_known and span.upto - span.rows != seen:
            findings.add(
                kind, f"{kind} {seen + 1} to {span.upto}: two commits' numbers do not meet"
            )
        seen = span.upto
        if not span.is_known:
            older += span.rows
            continue
        together.append(span)
        if sum(each.rows for each in together) >= ROWS_AT_ONCE:
            read += _compare_spans(store, kind, together, findings)
            together = []
    read += _compare_spans(store, kind, together, findings)
    if store.last_seq(kind) != seen:
        said = (
            f"{kind} are numbered up to {store.last_seq(kind)}, and commits numbered them to {seen}"
        )
        findings.add(kind, said)
    return read, older


def _compare_spans(
    store: BillingStore, kind: Kind, spans: Sequence[_Span], findings: Findings
) -> int:
    """Compare the rows of some links that follow each other. Returns how many rows there are."""
    if not spans:
        return 0
    first, last = spans[0].upto - spans[0].rows, spans[-1].upto
    rows = _rows_after(store, kind, first, last)
    numbers = rows["seq"]
    facts = rows.drop("seq")
    for span in spans:
        begin, end = (
            int(numbers.search_sorted(number, side="right"))
            for number in (span.upto - span.rows, span.upto)
        )
        if end - begin != span.rows:
            said = f"{span.where}: it added {span.rows:,} {kind}, and {end - begin:,} are there"
            findings.add(kind, said)
        elif frame_digest(facts.slice(begin, end - begin), SCHEMAS[kind]) != span.digest:
            said = f"{span.where}: {kind} {span.upto - span.rows + 1} to {span.upto} are not as it "
            findings.add(kind, said + "added them")
    return rows.height


def _rows_after(store: BillingStore, kind: Kind, seq: int, upto: int) -> pl.DataFrame:
    """Rows numbered in (seq, upto]."""
    if kind == "charges":
        return store.charges_after(seq, upto - seq, upto)
    if kind == "suspense":
        return store.suspense_after(seq, upto - seq, upto)
    return store.signals_after(seq, upto - seq, upto)


def read_heads(texts: Sequence[str]) -> list[Head]:
    """Read heads as they are printed: "partition:number:digest", of which a metric has the beginning.

    Raises: ValueError, with a sentence.
    """
    heads = []
    for text in texts:
        partition, _, rest = text.partition(":")
        number, _, digits = rest.partition(":")
        try:
            digest = bytes.fromhex(digits[: len(digits) // 2 * 2])
            head = Head(int(partition), int(number), digest)
        except ValueError:
            digest = b""
        if len(digest) * 2 < HEAD_DIGITS_MIN or len(digest) > DIGEST_BYTES or head.number < 1:
            msg = (
                f"{text!r} is no head of a chain; write partition:number:digest as `ratecast verify` "
                f"prints it, with {HEAD_DIGITS_MIN} or more of the digest's digits"
            )
            raise ValueError(msg)
        heads.append(head)
    return heads
