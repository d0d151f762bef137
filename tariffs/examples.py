"""`[[example]]` tables: by them a book proves itself, with a few usage records and what they cost.

An example is read with the book, expanded to a usage log, rated by whoever can, and compared.
docs/tariff-books.md describes the form; what each record means is in spec sections 1, 2 and 5.
"""

from __future__ import annotations

import tomllib
from collections import Counter
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from tariffs import values
from tariffs.errors import UnfitError, quote
from tariffs.model import UNIT_MS
from tariffs.money import AMOUNT_MICROS_MAX, format_micros
from tariffs.reading import Page, Parse, Table
from tariffs.toml_lines import lines_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tariffs.model import Book

Row = dict[str, Any]
"""Column to value: a usage record, or what is expected of a charge, suspense row or signal."""

ACCOUNT = "a"
HEARTBEAT_MS = 60_000  # of a `watch`; sooner where the book's heartbeat timeout asks for it
HEARTBEATS_MAX = 100_000  # in one example
ROWS_MAX = 200  # expected of one kind: more are for sums, and pairing takes the square of them
BILL_DAY_MAX = 31


@dataclass(frozen=True, slots=True)
class Watch:
    """One content watched without a break: `from_ms` to `to_ms`, a heartbeat every `step_ms`."""

    view: Row  # the fields that its usage records share
    from_ms: int
    to_ms: int
    step_ms: int


@dataclass(frozen=True, slots=True)
class Example:
    """Usage, and what it must come to. None: not looked at.

    charges, suspense, signals: one row each, with the columns that matter to the author.
    sums: columns of all charges together. balances: micro-units by account.
    """

    name: str
    line: int
    log: tuple[Row | Watch, ...]
    charges: tuple[Row, ...] | None = None
    sums: Row | None = None
    suspense: tuple[Row, ...] = ()
    signals: tuple[Row, ...] | None = None
    balances: Row | None = None


# --- what an example may say ---------------------------------------------------------------------


def _instant_ms(value: Any) -> int:
    """Take a date and time with zone, or ms since the epoch as in a usage log."""
    if isinstance(value, int) and not isinstance(value, bool):
        return _whole(value)
    return values.instant_ms(value)


def _whole(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or abs(value) > 2**62:
        raise UnfitError(f"is {values.describe(value)}, not a whole number", "write it plainly")
    return value


def _bill_day(value: Any) -> int:
    day = _whole(value)
    if not 1 <= day <= BILL_DAY_MAX:
        raise UnfitError(f"is {values.describe(day)}", f"use 1 to {BILL_DAY_MAX}")
    return day


def _rate(value: Any) -> int | float:
    if isinstance(value, int) and not isinstance(value, bool):
        return _whole(value)
    if not isinstance(value, Decimal) or not value.is_finite() or abs(value) > 10**6:
        raise UnfitError(f"is {values.describe(value)}, not a playback rate", "write 1 or 1.5")
    return float(value)


def _amount_text(value: Any) -> str:
    values.amount(AMOUNT_MICROS_MAX)(value)
    return str(value)


REQUIRED = object()
ABSENT = object()
_STATES = ("playing", "starting", "paused", "stalled", "seeking", "stopped")
_Fields = dict[str, tuple[Parse[Any], Any]]
"""Field to its parser and its default; REQUIRED or ABSENT where there is none."""

_VIEW: _Fields = {
    "account": (values.name, ACCOUNT),
    "device": (values.name, "d"),
    "session": (values.name, "s"),
    "kind": (values.name, "channel"),
    "quality": (values.text, ABSENT),
}
RECORDS: dict[str, _Fields] = {
    "view": {
        **_VIEW,
        "content": (values.name, REQUIRED),
        "state": (values.choice(*_STATES), "playing"),
        "playhead_ms": (_whole, ABSENT),
        "rate": (_rate, ABSENT),
    },
    "account.open": {
        "account": (values.name, ACCOUNT),
        "plan": (values.name, REQUIRED),
        "region": (values.text, ABSENT),
        "bill_day": (_bill_day, ABSENT),
    },
    "account.subscribe": {
        "account": (values.name, ACCOUNT),
        "package": (values.name, REQUIRED),
    },
    "account.unsubscribe": {
        "account": (values.name, ACCOUNT),
        "package": (values.name, REQUIRED),
    },
    "balance.topup": {
        "account": (values.name, ACCOUNT),
        "id": (values.name, REQUIRED),
        "amount": (_amount_text, REQUIRED),
        "currency": (values.name, ABSENT),
    },
    "order.purchase": {
        "account": (values.name, ACCOUNT),
        "id": (values.name, REQUIRED),
        "offer": (values.name, REQUIRED),
        "quality": (values.text, ABSENT),
        "device": (values.name, ABSENT),
    },
    "order.cancel": {
        "account": (values.name, ACCOUNT),
        "id": (values.name, REQUIRED),
        "order": (values.name, REQUIRED),
    },
}

_money = values.amount(AMOUNT_MICROS_MAX, least_micros=-AMOUNT_MICROS_MAX)
_seconds = values.span_ms(UNIT_MS["second"])
MONEY = ("gross", "discount", "capped", "net", "tax", "total", "unfunded")
_SUMMABLE: dict[str, Parse[Any]] = {
    **{f"{span}_s": _seconds for span in ("watched", "billed", "free")},
    **dict.fromkeys(MONEY, _money),
}
_PLACE: dict[str, Parse[Any]] = dict.fromkeys(
    ("type", "account", "device", "session", "content", "kind", "quality", "plan", "book"),
    values.text,
)
CHARGE_COLUMNS = {
    **_PLACE,
    **dict.fromkeys(("charge_id", "rule", "currency"), values.text),
    **dict.fromkeys(("start", "end", "slot"), _instant_ms),
    **_SUMMABLE,
}
SUSPENSE_COLUMNS = {
    **_PLACE,
    **dict.fromkeys(("reason", "detail"), values.text),
    **dict.fromkeys(("time", "end"), _instant_ms),
    "watched_s": _seconds,
}
SIGNAL_COLUMNS: dict[str, Parse[Any]] = {
    **dict.fromkeys(("type", "account", "order", "reason"), values.text),
    "time": _instant_ms,
}


# --- reading -------------------------------------------------------------------------------------


def read_examples(top: Table, heartbeat_timeout_ms: int) -> tuple[Example, ...]:
    """Read the examples of a document, with every mistake in them noted."""
    return tuple(
        _read_example(table, min(HEARTBEAT_MS, heartbeat_timeout_ms))
        for table in top.tables("example", "[[example]]", naming="name")
    )


def examples_of(book: Book) -> tuple[Example, ...]:
    """Read the examples of a loaded book."""
    page = Page(book.source, lambda: lines_of(book.text))
    document = tomllib.loads(book.text, parse_float=Decimal)
    examples = read_examples(Table(page, (), "", document), book.heartbeat_timeout_ms)
    assert not page.mistakes, "a loaded book has no mistakes, in its examples neither"
    return examples


def _read_example(table: Table, step_ms: int) -> Example:
    name = table.need("name", values.name, "", '"what this shows"')
    entries = table.tables("log", "log", 'log = [{ watch = "…", from = …, to = … }]')
    if not table.values.get("log"):
        table.report("`log` has no usage", 'write log = [{ watch = "…", from = …, to = … }]')
    log = [_read_entry(entry, step_ms) for entry in entries]
    _check_overlap(entries, log)
    if sum(map(_beats, log)) > HEARTBEATS_MAX:
        what = f"`log` takes more than {HEARTBEATS_MAX:,} heartbeats"
        table.report(what, "watch for a shorter time", "log")
    example = Example(
        name=name,
        line=table.page.line_of(table.path),
        log=(*_read_opening(table, min(map(_start_ms, log), default=0)), *log),
        charges=_read_rows(table, "charges", CHARGE_COLUMNS),
        sums=_read_sums(table),
        suspense=_read_rows(table, "suspense", SUSPENSE_COLUMNS) or (),
        signals=_read_rows(table, "signals", SIGNAL_COLUMNS),
        balances=_read_balances(table),
    )
    table.close()
    if not any(key in table for key in ("charges", "sums", "suspense", "signals", "balances")):
        table.report("it expects nothing", "add charges, sums, suspense, signals or balances")
    return example


def _read_opening(table: Table, time_ms: int) -> list[Row]:
    """Write the usage records that set up the account "a", from the example's own keys."""
    plan = table.one("plan", values.name, None)
    region = table.one("region", values.text, "")
    bill_day = table.one("bill_day", _bill_day, 1)
    packages = table.many("packages", values.name) or ()
    balance = table.one("balance", _amount_text, None)
    for key in ("region", "bill_day"):
        if key in table and plan is None:
            table.report(f"`{key}` needs a plan", 'add plan = "…"', key)
    records: list[Row] = []
    if plan is not None:
        opening = {"plan": plan, "region": region, "bill_day": bill_day}
        records.append({"type": "account.open", **opening})
    records.extend({"type": "account.subscribe", "package": package} for package in packages)
    if balance is not None:
        records.append({"type": "balance.topup", "id": "opening balance", "amount": balance})
    return [{"time": time_ms, "account": ACCOUNT, **record} for record in records]


def _start_ms(entry: Row | Watch) -> int:
    return entry.from_ms if isinstance(entry, Watch) else int(entry["time"])


def _beats(entry: Row | Watch) -> int:
    """How many usage records an entry is written out as, but for a stop."""
    return (entry.to_ms - entry.from_ms) // entry.step_ms if isinstance(entry, Watch) else 1


def _read_entry(table: Table, step_ms: int) -> Row | Watch:
    if "watch" in table:
        return _read_watch(table, step_ms)
    record_type = table.one("type", values.choice(*RECORDS), None if "type" in table else "view")
    time_ms = table.need("time", _instant_ms, 0, "2026-01-31T18:00:00Z")
    if record_type is None:
        return {"time": time_ms}  # Which other keys belong here is not known.
    record = {"type": record_type, "time": time_ms, **_read_fields(table, RECORDS[record_type])}
    table.close()
    return record


def _read_fields(table: Table, fields: _Fields) -> Row:
    found = {}
    for key, (parse, default) in fields.items():
        if default is REQUIRED:
            found[key] = table.need(key, parse, "", '"…"')
        elif key in table or default is not ABSENT:
            found[key] = table.one(key, parse, default)
        else:
            table.known.append(key)
    return found


def _read_watch(table: Table, step_ms: int) -> Watch:
    content = table.need("watch", values.name, "", '"…"')
    from_ms = table.need("from", _instant_ms, 0, "2026-01-31T18:00:00Z")
    to_ms = table.need("to", _instant_ms, from_ms, "2026-01-31T19:00:00Z")
    view = {"type": "view", "content": content, **_read_fields(table, _VIEW)}
    if not table.page.flawed(*table.path) and from_ms >= to_ms:
        table.report("`to` is not after `from`", "correct one of them", "to")
    table.close()
    return Watch(view, from_ms, to_ms, step_ms)


def _check_overlap(tables: Sequence[Table], log: Sequence[Row | Watch]) -> None:
    """Report a watch that begins while another of the same session goes on."""
    watches = [
        (entry, table) for entry, table in zip(log, tables, strict=True) if isinstance(entry, Watch)
    ]
    busy_until: dict[tuple[str, str, str], int] = {}
    for watch, table in sorted(watches, key=lambda pair: pair[0].from_ms):
        session = (watch.view["account"], watch.view["device"], watch.view["session"])
        if watch.from_ms < busy_until.get(session, watch.from_ms):
            what = f"session {quote(session[2])} is still watching something else"
            table.report(what, 'give one of the two its own session = "…"', "from")
        busy_until[session] = max(watch.to_ms, busy_until.get(session, watch.to_ms))


def _read_sums(table: Table) -> Row | None:
    sums = _read_row(table.table("sums", table.inner("sums")), _SUMMABLE)
    return sums if "sums" in table else None


def _read_balances(table: Table) -> Row | None:
    balances = table.table("balances", table.inner("balances"))
    found = {account: balances.one(account, _money, 0) for account in balances.values}
    return found if "balances" in table else None


def _read_rows(table: Table, key: str, columns: Mapping[str, Parse[Any]]) -> tuple[Row, ...] | None:
    tables = table.tables(key, key, f"{key} = [{{ … }}]")
    if len(tables) > ROWS_MAX:
        table.report(f"`{key}` has more than {ROWS_MAX} rows", "write `sums`, or less usage", key)
    if key not in table:
        return None
    return tuple(_read_row(row, columns) for row in tables)


def _read_row(table: Table, columns: Mapping[str, Parse[Any]]) -> Row:
    """Read the columns that an expectation names, seconds as the outcome's milliseconds."""
    row = {}
    for key, parse in columns.items():
        value = table.one(key, parse, None)
        if value is not None:
            row[f"{key[:-1]}ms" if key.endswith("_s") else key] = value
    table.close()
    return row


# --- expanding -----------------------------------------------------------------------------------


def expand(example: Example) -> list[Row]:
    """Write the example out as a usage log: by ascending time, and without `received`."""
    records: list[Row] = []
    for entry in example.log:
        if isinstance(entry, Watch):
            beats = range(entry.from_ms, entry.to_ms, entry.step_ms)
            records.extend({**entry.view, "time": beat, "state": "playing"} for beat in beats)
            records.append({**entry.view, "time": entry.to_ms, "state": "stopped"})
        else:
            records.append(dict(entry))
    return sorted(records, key=lambda record: record["time"])


# --- comparing -----------------------------------------------------------------------------------


def differences(
    example: Example,
    charges: Sequence[Mapping[str, Any]],
    suspense: Sequence[Mapping[str, Any]],
    signals: Sequence[Mapping[str, Any]],
    balances: Mapping[str, int],
) -> list[str]:
    """Where an outcome is not what the example expects, in sentences; none if all is well.

    charges, suspense, signals: rows with the columns of section 6 and 7, ms and micro-units;
    their order does not matter. balances: micro-units by account.
    """
    found = []
    if example.charges is not None:
        found += _row_differences("charge", example.charges, charges)
    found += _row_differences("suspense row", example.suspense, suspense)
    if example.signals is not None:
        found += _row_differences("signal", example.signals, signals)
    if example.sums is not None:
        totals = {column: sum(row[column] for row in charges) for column in example.sums}
        found += [f"of all charges together, {text}" for text in _unlike(example.sums, totals)]
    for account, micros in (example.balances or {}).items():
        expected = format_micros(micros)
        if account not in balances:
            found.append(
                f"there is no account {quote(account)}, whose balance should be {expected}"
            )
        elif balances[account] != micros:
            balance = format_micros(balances[account])
            found.append(f"balance of {quote(account)} is {balance}, expected {expected}")
    return found


def _row_differences(
    noun: str, expected: Sequence[Row], actual: Sequence[Mapping[str, Any]]
) -> list[str]:
    """Pair expected rows with actual ones as well as can be, and tell what is left over."""
    pairs = _pairing(expected, actual)
    missing = [place for place in range(len(expected)) if place not in pairs.values()]
    surplus = [row for place, row in enumerate(actual) if place not in pairs]
    found = []
    for place in missing:
        wanted = expected[place]
        nearest = min(surplus, key=lambda row: len(_unlike(wanted, row)), default=None)
        if nearest is None:
            found.append(f"{noun} {place + 1} ({_in_words(wanted)}) is missing")
        else:
            surplus.remove(nearest)
            found.append(f"{noun} {place + 1}: {'; '.join(_unlike(wanted, nearest))}")
    shown = Counter(_in_words(_brief(row)) for row in surplus)
    found += [
        f"{noun} not expected: {words}{f' ({count} times)' if count > 1 else ''}"
        for words, count in shown.items()
    ]
    return found


def _pairing(expected: Sequence[Row], actual: Sequence[Mapping[str, Any]]) -> dict[int, int]:
    """Actual place to expected place, as many as can be: Kuhn's augmenting paths."""
    pairs: dict[int, int] = {}
    fitting = [
        [number for number, row in enumerate(actual) if not _unlike(wanted, row)]
        for wanted in expected
    ]

    def place(wanted: int, tried: set[int]) -> bool:
        for number in fitting[wanted]:
            if number not in tried:
                tried.add(number)
                if number not in pairs or place(pairs[number], tried):
                    pairs[number] = wanted
                    return True
        return False

    for wanted in range(len(expected)):
        place(wanted, set())
    return pairs


def _unlike(wanted: Row, row: Mapping[str, Any]) -> list[str]:
    """Tell the wanted columns that a row does not have so, in words."""
    return [
        f"{_label(column)} is {_shown(column, row.get(column))}, expected {_shown(column, value)}"
        for column, value in wanted.items()
        if row.get(column) != value
    ]


def _brief(row: Mapping[str, Any]) -> Row:
    """Keep the columns by which a person recognises a row."""
    columns = ("reason", "type", "account", "order", "content", "rule", "start", "net")
    return {column: row[column] for column in columns if row.get(column) not in (None, "")}


def _in_words(row: Row) -> str:
    return ", ".join(f"{_label(column)} {_shown(column, value)}" for column, value in row.items())


def _label(column: str) -> str:
    """Name a column as an author does, with seconds for milliseconds."""
    return column.removesuffix("ms") + "s" if column.endswith("_ms") else column


def _shown(column: str, value: Any) -> str:
    """Write a column's value as an author would write it."""
    if value is None:
        return "nothing"
    if column in MONEY:
        return format_micros(value)
    if column.endswith("_ms"):
        return str(Decimal(value) / 1000)
    if column in ("start", "end", "slot", "time"):
        return (values.EPOCH + timedelta(milliseconds=value)).isoformat()
    return quote(str(value))
