"""Bulk data of TR-069 and TR-369 boxes: event logs to usage records, audience counters to evidence.

A box posts reports about itself; reports that failed to arrive before come first in the body. An
event log (TR-135 `EventLog.Entry`) has event types of the vendor, so a mapping file, as for an
operator's own JSON, says what each means. An audience counter (TR-135 `AudienceStats`) is so many
seconds since a reset and says nothing about when: it is evidence, and never charged.

A log persists, so a report repeats what an earlier one had. `Box` is what a box has said so far: with
it each entry counts once, in however many requests it comes.

The document that a mapping reads is one entry of an event log:

    {"Type": ..., "Time": ..., "SequenceNumber": ..., "Parameter": {NAME: VALUE, ...},
     "Stream": {"ServiceType": ..., "SessionId": ..., ...},
     "Device": {"id": ..., "oui": ..., "pc": ..., "sn": ...}, "CollectionTime": ...}

Source: TR-157 annex A, TR-181 Device.BulkData, TR-369 annex on HTTP bulk data collection, TR-135.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import parse_qs, quote

import polars as pl

from ingest.adapters.bulk_csv import read_rows
from ingest.adapters.canonical import (
    MALFORMED,
    UNBOUND,
    USAGE_FIELDS,
    Reading,
    suspended_frame,
    suspended_row,
)
from ingest.adapters.clocks import Clock, place_times
from ingest.adapters.fields import usage_rows
from ingest.adapters.mapped_json import (
    JsonMapping,
    fits,
    in_ms,
    json_bytes,
    plain,
    refused_row,
    take_records,
)
from ingest.json_exact import MalformedError, parse_json, rfc_3339_ms, shown
from rating.schemas import TIME_MS_MAX, TIME_MS_MIN

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

COUNTERS = pl.Schema(
    {
        "device": pl.String,
        "account": pl.String,  # null: bound to nobody
        "service": pl.String,  # the data model's path of the set-top box service
        "channel": pl.String,
        "collected": pl.Int64,  # ms since the epoch; null where the report has no time
        "reset": pl.String,  # when the box says that it began to count; null where it does not
        "duration_s": pl.Int64,
    }
)
"""One row for each channel of each report: seconds on the main picture since the last reset."""

USAGE_COLUMNS = USAGE_FIELDS | {
    "stream": pl.String,
    "sn": pl.Int64,
    "device_time": pl.Int64,
}

SEQUENCE_MODULUS = 2**32
"""Where a SequenceNumber begins again, unless a box does so earlier: TR-135 has unsignedInt."""

# An instance by its number, by its alias in brackets, or by the name that a box gives it.
INSTANCE = r"(?:\[[^\[\]]+\]|[A-Za-z0-9_-]+)"
ENTRY = re.compile(
    rf"(?P<stream>.*?)\.?EventLog\.Entry\.(?P<entry>{INSTANCE})\."
    rf"(?:Parameter\.(?P<parameter>{INSTANCE})\.)?(?P<name>[A-Za-z0-9_-]+)"
)
CHANNEL = re.compile(
    rf"(?P<service>.*?)\.?Applications\.AudienceStats\."
    rf"(?:Channel\.(?P<channel>{INSTANCE})\.(?P<name>Name|Alias|Duration)|(?P<reset>ResetTime))"
)
# What is said of a stream itself; without entries beside it, the stream's log is empty.
STREAM = re.compile(rf".*?ServiceMonitoring\.MainStream\.{INSTANCE}\.[A-Za-z0-9_-]+")
LOOKED_FOR = (
    "EventLog.Entry.{i}.NAME, EventLog.Entry.{i}.Parameter.{i}.NAME or "
    "Applications.AudienceStats.Channel.{i}.NAME"
)
COUNTER = "Applications.AudienceStats."  # in each of them; to look for it is quick
SECONDS = re.compile(r"[0-9]{1,15}")
ZONE = re.compile(r"(?:[Zz]|([+-][0-9]{2}):?([0-9]{2})?)$")
HALF_PAIR = re.compile("[\ud800-\udfff]")
UNKNOWN_TIME = "0001-01-01T00:00:00Z"  # TR-106: the box does not know
IDENTITY = ("oui", "pc", "sn", "eid")
CSV_TIME = "ReportTimestamp"
ROW_NAMES = frozenset((CSV_TIME, "ParameterName", "ParameterValue", "ParameterType"))
JSON_TIME = "CollectionTime"


class Report(NamedTuple):
    """What one report says. time: as the box wrote it, or None. values: text by full path."""

    time: Any
    values: dict[str, Any]


class Mark(NamedTuple):
    """How far an event log was read. sequence: of its last entry; time_ms: the newest, by the box."""

    sequence: int | None = None
    time_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Box:
    """What a box has said so far: keep it from one request to the next.

    marks: by the path of the stream whose log it is. clock: what its clock is off by.
    """

    marks: Mapping[str, Mark] = field(default_factory=dict)
    clock: Clock = field(default_factory=Clock)


@dataclass(frozen=True, slots=True)
class BulkReading:
    """What one body comes to.

    reading: its usage has, besides USAGE_FIELDS, `stream` and `sn`, the path of an entry's log and
    its number there, and `device_time`, its time in ms by the box's clock where that was moved.
    counters: rows of COUNTERS, in the order of the reports. box: to pass in with its next request,
    once this one is in the log. repeats: entries that came before.
    """

    reading: Reading
    counters: pl.DataFrame = field(default_factory=COUNTERS.to_frame)
    box: Box = field(default_factory=Box)
    repeats: int = 0


def device_of(query: str) -> str:
    """The identity of a box from the query of its request.

    It is OUI, product class (which a box may lack) and serial number, or the endpoint id of a USP
    agent (`eid`). Raises: MalformedError if it has neither.
    """
    found = dict_of(query)
    if "oui" in found and "sn" in found:
        parts = (found["oui"], found.get("pc", ""), found["sn"])
        # Two boxes share a name only if they share all three: no hyphen but those between is left.
        return "-".join(quote(part, safe="").replace("-", "%2D") for part in parts)
    if ":" in found.get("eid", ""):  # as each endpoint id has, and the other name never
        return quote(found["eid"], safe=":-")
    missing = [name for name in ("oui", "sn") if name not in found]
    raise MalformedError(
        f"the request's query lacks {', '.join(missing)}, and has no endpoint id (eid) either, so "
        "nothing says which box this is"
    )


class Arrival(NamedTuple):
    """When a request came by our clock, and when the box sent it by its own; in ms."""

    received_ms: int
    sent_ms: int | None = None


class Owner(NamedTuple):
    """Whom a box is bound to, never what it says itself.

    account: None suspends what it saw. device: None takes the identity in its query. session: None
    takes what the mapping finds.
    """

    account: str | None = None
    device: str | None = None
    session: str | None = None


def read(
    query: str,
    headers: Iterable[tuple[str, str]],
    body: bytes,
    mapping: JsonMapping,
    owner: Owner,
    *,
    box: Box | None = None,
    arrival: Arrival | None = None,
) -> BulkReading:
    """Read one request of a box, its body already decompressed.

    box: what it has said before. arrival: None leaves its times as they are.
    """
    named = {name.lower(): value for name, value in headers}
    form = named.get("bbf-report-format", "").strip().strip('"').lower()
    known = box or Box()
    try:
        device = owner.device or device_of(query)
        reports = [
            renamed(report, mapping.names)
            for report in reports_of(body, named.get("content-type", ""), form)
        ]
    except MalformedError as error:
        row = suspended_row(MALFORMED, str(error), body, account=owner.account)
        nothing = pl.DataFrame(schema=USAGE_COLUMNS)
        return BulkReading(Reading(nothing, suspended_frame([row])), box=known)
    found = read_reports(reports, owner._replace(device=device), dict_of(query), mapping, known)
    return found if arrival is None else placed(found, reports, arrival)


def dict_of(query: str) -> dict[str, str]:
    """The arguments of a query that are not empty, the first of each name."""
    return {name: values[0] for name, values in parse_qs(query.removeprefix("?")).items()}


def read_reports(
    reports: list[Report],
    owner: Owner,
    identity: Mapping[str, Any],
    mapping: JsonMapping,
    box: Box,
) -> BulkReading:
    """Read the reports of one box, oldest first; see `read`. Of `owner`, the device is known."""
    device = owner.device or ""
    said = {name: identity.get(name) for name in IDENTITY} | {"id": device}
    every = entries_in_order(reports, said)
    entries = [entry for entry in every if not is_repeat(entry, box.marks)]
    if owner.account is None:
        why = f"box {device} is bound to no account"
        rows: list[dict[str, Any]] = []
        suspended = [
            suspended_row(UNBOUND, why, json_bytes(entry), time=entry_ms(entry))
            for entry in entries
        ]
    else:
        given = {"account": owner.account, "device": device, "session": owner.session}
        rows, suspended = read_entries(
            entries, mapping, {name: text for name, text in given.items() if text is not None}
        )
    counters, refused = counters_of(reports, device, owner.account)
    refused += [not_understood(report, owner) for report in reports if says_nothing(report)]
    columns = {name: [row.get(name) for row in rows] for name in USAGE_COLUMNS}
    usage = pl.DataFrame(columns, schema=USAGE_COLUMNS)
    return BulkReading(
        Reading(usage, suspended_frame(suspended + refused)),
        counters,
        replace(box, marks=marks_after(box.marks, entries)),
        len(every) - len(entries),
    )


def read_entries(
    entries: list[dict[str, Any]], mapping: JsonMapping, given: dict[str, str]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Rows of USAGE_COLUMNS, and suspended rows, of the entries of event logs.

    given: fields that are known from elsewhere, and that no entry may say otherwise.
    """
    found: list[tuple[dict[str, Any], dict[str, Any], MalformedError | None]] = []
    for entry in entries:
        if any(fits(rule, entry) for rule in mapping.skip):
            continue
        fields = dict(given)  # which the span of a viewing asks for
        try:
            found += ((entry, one | given, None) for one in take_records(entry, mapping, fields))
        except MalformedError as error:
            found.append((entry, fields | given, error))
    checked = iter(usage_rows([fields for _, fields, wrong in found if wrong is None]))
    rows, refused = [], []
    for entry, fields, wrong in found:
        row = next(checked) if wrong is None else wrong
        if isinstance(row, MalformedError):
            refused.append(refused_row(row, json_bytes(entry), fields))
        else:
            rows.append(row | {"stream": entry["Stream"]["Path"], "sn": number_in(entry)})
    return rows, refused


def placed(found: BulkReading, reports: list[Report], arrival: Arrival) -> BulkReading:
    """A reading with the times at which things happened, though the box's clock is wrong.

    Where the box does not say when it sent this, its newest report counts as sent right away.
    """
    times = [ms for ms in (collected_ms(report.time) for report in reports) if ms is not None]
    newest = [max(times)] if times else [arrival.sent_ms] if arrival.sent_ms is not None else []
    _, clock = place_times(newest, arrival.received_ms, arrival.sent_ms, found.box.clock)
    moved_ms = clock.offset_ms or 0
    device_time = pl.col("time") if moved_ms else pl.lit(None, pl.Int64)
    usage = found.reading.usage.with_columns(
        device_time.alias("device_time"), pl.col("time") + moved_ms
    )
    return replace(
        found,
        reading=Reading(usage, found.reading.suspended),
        counters=found.counters.with_columns(pl.col("collected") + moved_ms),
        box=replace(found.box, clock=clock),
    )


# --- reports -----------------------------------------------------------------------------------


def reports_of(body: bytes, content_type: str, form: str) -> Iterator[Report]:
    """The reports of a body in any of the four forms. Raises: MalformedError."""
    if form.startswith("parameterper") or "csv" in content_type.lower():
        yield from csv_reports(body, form)
    else:
        yield from json_reports(body)


def json_reports(body: bytes) -> Iterator[Report]:
    """NameValuePair and ObjectHierarchy: names are flat, or objects inside one another."""
    whole = parse_json(body.strip())
    listed = whole.get("Report") if isinstance(whole, dict) else None
    if isinstance(listed, dict):
        listed = [listed]
    if not isinstance(listed, list) or not all(isinstance(one, dict) for one in listed):
        raise MalformedError('the body has no array "Report" of objects')
    for one in listed:
        values = dict(flattened(one, ""))
        time = values.pop(JSON_TIME, None)
        yield Report(time, values)


def flattened(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Every scalar of nested objects and arrays, under names with dots between."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from flattened(inner, f"{path}.{name}" if path else name)
    elif isinstance(value, list):
        for number, inner in enumerate(value, 1):
            yield from flattened(inner, f"{path}.{number}")
    elif HALF_PAIR.search(path):
        raise MalformedError(f"the name {shown(path)} holds half of a surrogate pair")
    else:
        yield path, value


def renamed(report: Report, names: Mapping[str, str]) -> Report:
    """A report with the data model's paths in place of the names that a box's profile has for them."""
    if not names:
        return report
    return report._replace(
        values={full_path(path, names): value for path, value in report.values.items()}
    )


def full_path(path: str, names: Mapping[str, str]) -> str:
    """The path that a name stands for; each * of it takes the name's next instance."""
    for name, stands_for in names.items():
        if path == name or path.startswith(f"{name}."):
            steps = iter(path[len(name) + 1 :].split(".") if path != name else ())
            filled = [next(steps, "") if step == "*" else step for step in stands_for.split(".")]
            return ".".join((*filled, *steps))
    return path


def says_nothing(report: Report) -> bool:
    """Whether a report has parameters, none of which is looked for.

    One that tells of streams alone tells that their logs are empty.
    """
    return not all(map(STREAM.fullmatch, report.values)) and not any(
        ENTRY.fullmatch(path) or (COUNTER in path and CHANNEL.fullmatch(path))
        for path in report.values
    )


def not_understood(report: Report, owner: Owner) -> dict[str, Any]:
    """The suspended row of such a report."""
    count, first = len(report.values), next(iter(report.values))
    why = (
        f"nothing of this report was understood: of its parameters ({count}, the first "
        f"{shown(first)}) none is {LOOKED_FOR}. Where the box's profile has names of its own for "
        "them, say so under [names] of --box-events"
    )
    raw = json_bytes({JSON_TIME: report.time} | report.values)
    return suspended_row(MALFORMED, why, raw, account=owner.account, time=collected_ms(report.time))


def csv_reports(body: bytes, form: str) -> Iterator[Report]:
    """ParameterPerRow and ParameterPerColumn, told apart by the header line where need be."""
    rows = read_rows(body)
    if not rows:
        raise MalformedError("the body is empty")
    header = [name.strip() for name in rows[0]]
    if len(rows) == 1 and not ROW_NAMES.issuperset(header):
        raise MalformedError(
            f"the CSV has a header of {len(header)} columns, the first {shown(header[0])}, and no row"
        )
    for number, row in enumerate(rows[1:], 2):
        if len(row) != len(header):
            raise MalformedError(
                f"row {number} of the CSV has {len(row)} values, the header has {len(header)}"
            )
    if form == "parameterperrow" or "ParameterName" in header:
        yield from rows_as_reports(header, rows[1:])
        return
    for row in rows[1:]:
        values: dict[str, Any] = dict(zip(header, row, strict=True))
        time = values.pop(CSV_TIME, None)
        yield Report(time, {name: value for name, value in values.items() if value})


def rows_as_reports(header: list[str], rows: list[list[str]]) -> Iterator[Report]:
    """ParameterPerRow: rows of one time that stand together are one report."""
    if not {"ParameterName", "ParameterValue"} <= set(header):
        raise MalformedError("the CSV's header lacks ParameterName or ParameterValue")
    report: Report | None = None
    for row in rows:
        values = dict(zip(header, row, strict=True))
        time, name = values.get(CSV_TIME), values["ParameterName"]
        # A name that comes again begins another report, also where reports have no time.
        if report is None or report.time != time or name in report.values:
            if report is not None:
                yield report
            report = Report(time, {})
        report.values[name] = values["ParameterValue"]
    if report is not None:
        yield report


# --- event logs --------------------------------------------------------------------------------


def entries_in_order(reports: list[Report], box: dict[str, Any]) -> list[dict[str, Any]]:
    """The entries of all event logs, each once, in the order in which they happened.

    A log persists, so each report repeats what an earlier one had. Within a stream the sequence
    number gives the order, also past where it begins again.
    """
    streams: dict[str, dict[tuple[str, str, str], dict[str, Any]]] = {}
    for report in reports:
        for stream, entry in entries_of(report):
            entry["Device"] = box
            entry["CollectionTime"] = report.time
            known = (
                plain(entry.get("SequenceNumber")),
                plain(entry.get("Time")),
                plain(entry.get("Type")),
            )
            streams.setdefault(stream, {}).setdefault(known, entry)
    return [entry for entries in streams.values() for entry in by_sequence(list(entries.values()))]


def is_repeat(entry: Mapping[str, Any], marks: Mapping[str, Mark]) -> bool:
    """Whether an entry was read before."""
    mark = marks.get(entry["Stream"]["Path"])
    return mark is not None and is_behind(mark, number_in(entry), entry_ms(entry))


def is_behind(mark: Mark, number: int | None, time_ms: int | None) -> bool:
    """Whether an entry of this number and time, by the box's clock, lies at a mark or before it.

    A higher number is a later entry, whatever the clock says. A lower one is an earlier entry, or
    the count has begun anew: then the time tells.
    """
    if number is not None and mark.sequence is not None:
        ahead = (number - mark.sequence) % SEQUENCE_MODULUS
        if 0 < ahead < SEQUENCE_MODULUS // 2:
            return False
        return time_ms is None or mark.time_ms is None or time_ms <= mark.time_ms
    return time_ms is not None and mark.time_ms is not None and time_ms <= mark.time_ms


def marks_after(marks: Mapping[str, Mark], entries: list[dict[str, Any]]) -> dict[str, Mark]:
    """How far the logs are read, once these entries are, which stand in their order."""
    found = dict(marks)
    for entry in entries:
        path = entry["Stream"]["Path"]
        found[path] = mark_after(found.get(path), number_in(entry), entry_ms(entry))
    return found


def mark_after(mark: Mark | None, number: int | None, time_ms: int | None) -> Mark:
    """A mark behind one more entry. The time never falls: a clock that was set back repeats some."""
    before = mark or Mark()
    known = [ms for ms in (before.time_ms, time_ms) if ms is not None]
    sequence = before.sequence if number is None else number
    return Mark(sequence, max(known, default=None))


def entries_of(report: Report) -> Iterator[tuple[str, dict[str, Any]]]:
    """The entries of one report, each with the path of its stream."""
    entries: dict[tuple[str, str], dict[str, Any]] = {}
    parameters: dict[tuple[str, str, str], dict[str, Any]] = {}
    for path, value in report.values.items():
        found = ENTRY.fullmatch(path)
        if found is None:
            continue
        at = (found["stream"], found["entry"])
        entry = entries.setdefault(at, {"Parameter": {}})
        if found["parameter"] is None:
            entry[found["name"]] = zoned(value) if found["name"] == "Time" else value
        else:
            parameters.setdefault((*at, found["parameter"]), {})[found["name"]] = value
    for (stream, instance, _), pair in parameters.items():
        entries[stream, instance]["Parameter"][plain(pair.get("Name"))] = pair.get("Value")
    about = {stream: stream_of(report, stream) for stream in {stream for stream, _ in entries}}
    for (stream, _), entry in sorted(entries.items(), key=lambda one: place_of(*one[0])):
        entry["Stream"] = about[stream]
        yield stream, entry


def place_of(stream: str, instance: str) -> tuple[str, int]:
    """The order of entries: by stream and number; those with an alias stay as they came."""
    return stream, int(instance) if SECONDS.fullmatch(instance) else -1


def stream_of(report: Report, stream: str) -> dict[str, Any]:
    """What a report says about the stream itself: its ServiceType, its SessionId and more."""
    start = f"{stream}." if stream else ""
    return {
        path[len(start) :]: value
        for path, value in report.values.items()
        if path.startswith(start) and "." not in path[len(start) :]
    } | {"Path": stream}


def by_sequence(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Entries by sequence number; those that lie behind where it begins again come after.

    Numbers more than half of all apart can only be so because the count began again between them.
    """
    numbers = [number_in(entry) for entry in entries]
    known = [number for number in numbers if number is not None]
    if len(known) < len(entries):
        return entries
    first = max(known, default=0) - SEQUENCE_MODULUS // 2
    order = [number + SEQUENCE_MODULUS * (number < first) for number in known]
    return [entry for _, entry in sorted(zip(order, entries, strict=True), key=lambda one: one[0])]


def number_in(entry: Mapping[str, Any]) -> int | None:
    """The sequence number of an entry; None where it has no good one."""
    text = plain(entry.get("SequenceNumber"))
    return int(text) % SEQUENCE_MODULUS if SECONDS.fullmatch(text) else None


def zoned(value: Any) -> Any:
    """The time of an entry with its zone; TR-106 means UTC where a box writes none.

    A zone without its colon (+0000), or of hours alone, is given its whole form.
    """
    if not isinstance(value, str) or value == UNKNOWN_TIME:
        return None if value == UNKNOWN_TIME else value
    zone = ZONE.search(value) if "T" in value else None
    if zone is None:
        return f"{value}Z" if "T" in value else value
    hours, minutes = zone.groups()
    return f"{value[: zone.start()]}{hours}:{minutes or '00'}" if hours else value


def entry_ms(entry: Mapping[str, Any]) -> int | None:
    """When an entry happened, in ms; None where it does not say."""
    return collected_ms(entry.get("Time"))


# --- audience counters -------------------------------------------------------------------------


def counters_of(
    reports: list[Report], device: str, account: str | None
) -> tuple[pl.DataFrame, list[dict[str, Any]]]:
    """The audience counters of all reports, and suspended rows for those that are none."""
    rows: list[dict[str, Any]] = []
    refused = []
    for report in reports:
        collected = collected_ms(report.time)
        channels: dict[tuple[str, str], dict[str, Any]] = {}
        resets: dict[str, str] = {}
        for path, value in report.values.items():
            found = CHANNEL.fullmatch(path) if COUNTER in path else None
            if found is None:
                continue
            if found["reset"]:
                resets[found["service"]] = HALF_PAIR.sub("?", plain(value))
            else:
                at = (found["service"], found["channel"])
                channels.setdefault(at, {})[found["name"]] = value
        for (service, instance), one in channels.items():
            alias = instance if instance.startswith("[") else ""
            channel = plain(one.get("Name") or one.get("Alias") or alias.strip("[]"))
            duration = plain(one.get("Duration"))
            if not channel or HALF_PAIR.search(channel) or not SECONDS.fullmatch(duration):
                why = f"an audience counter has name {shown(channel)}, duration {shown(duration)}"
                raw = json.dumps({name: plain(value) for name, value in one.items()}).encode()
                refused.append(suspended_row(MALFORMED, why, raw, account=account, time=collected))
                continue
            rows.append(
                {
                    "device": device,
                    "account": account,
                    "service": service,
                    "channel": channel,
                    "collected": collected,
                    "reset": resets.get(service),
                    "duration_s": int(duration),
                }
            )
    return pl.DataFrame(rows, schema=COUNTERS), refused


def collected_ms(time: Any) -> int | None:
    """When a report was taken: Unix seconds, or ISO 8601; None where it does not say."""
    try:
        found = in_ms(zoned(time), "s", JSON_TIME)
    except MalformedError:
        return None
    if isinstance(found, str):
        found = rfc_3339_ms(found)
    is_time = isinstance(found, int) and TIME_MS_MIN <= found <= TIME_MS_MAX
    return found if is_time else None
