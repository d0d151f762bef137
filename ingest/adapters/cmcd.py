"""Players' CMCD reports, event mode, to `view` records.

What a player says counts for what was played and when; who pays, on which device and in which
session is said by a binding that the gateway had from a token. Reports of other sessions, and all
without a binding, are suspended as `unbound`. A report that leaves open whether anything was played
is suspended as `no_state`: what was not said is never charged.
Source: CTA-5004-B sections 2.2 and 4.3; docs/senders/cmcd.md has each rule for whoever sends.
"""

from __future__ import annotations

from collections import Counter
from decimal import ROUND_HALF_EVEN, Decimal
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, cast

import polars as pl

from ingest import cmcd
from ingest.adapters.canonical import (
    MALFORMED,
    UNBOUND,
    USAGE_FIELDS,
    LogLine,
    Reading,
    Rows,
    lines_of_rows,
    suspended_frame,
    suspended_row,
)
from ingest.adapters.clocks import Clock, place_times
from ingest.adapters.sequence import Numbers, numbers_with
from ingest.cmcd import Record, Rejected
from rating.schemas import PLAYHEAD_MS_MAX, RATE_MILLI_MAX

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

NO_STATE = "no_state"

STATES = {
    "s": "starting",
    "d": "starting",  # preloading: nothing is rendered yet
    "p": "playing",
    "k": "seeking",
    "r": "stalled",
    "w": "stalled",
    "a": "paused",
    "e": "stopped",
    "q": "stopped",
    "f": "stopped",
}
KINDS = {"v": "vod", "l": "channel", "ll": "channel"}
BEFORE_START = ("s", "d")
TELLING = frozenset(("ps", "t", "c", "pr", "ce"))  # events that a state must go with
RESPONSE = "rr"
PICTURE = ("v", "av")
# Unusable, these are not the same as absent: what they would have said could be worth money.
HEADER_NAMES = frozenset(header.lower() for header in cmcd.HEADERS)
WEIGHTY = ("e", "sid", "ts", "sta", "cid", "pt", "pr", "nr")

# A time in seconds or microseconds would be placed, and every duration be wrong by a thousand.
SECONDS_MIN, SECONDS_MAX = 10**9, 4 * 10**9  # the years 2001 to 2096; in ms: a month of 1970
TS_MS_MAX = 4 * 10**12

USAGE_COLUMNS = USAGE_FIELDS | {"device_time": pl.Int64, "sn": pl.Int64, "cid": pl.String}
THOUSANDTH = Decimal("0.001")
NUMBER_MAX = 2**63 - 1


class OfSession(Protocol):
    """What names a session: a binding, or a view in the log."""

    @property
    def account(self) -> str: ...  # noqa: D102 - named for what it is
    @property
    def device(self) -> str: ...  # noqa: D102
    @property
    def session(self) -> str: ...  # noqa: D102


class Binding(OfSession, Protocol):
    """Who a report is from, as a token says it. content, kind, quality: None leaves them open."""

    @property
    def content(self) -> str | None: ...  # noqa: D102 - named for what it is
    @property
    def kind(self) -> str | None: ...  # noqa: D102
    @property
    def quality(self) -> str | None: ...  # noqa: D102


class Bound(NamedTuple):
    """A binding by hand."""

    account: str
    device: str
    session: str
    content: str | None = None
    kind: str | None = None
    quality: str | None = None


class Options(NamedTuple):
    """What an operator may decide.

    ladder: from how many kbps on which word of quality holds, ascending. kind: of a stream whose
    type neither its binding nor its player says. background: whether a player that nobody can see
    (`bg`) counts as playing.
    """

    ladder: tuple[tuple[int, str], ...] = ()
    kind: str | None = None
    background: bool = True


class Trace(NamedTuple):
    """What a session has said so far: keep it from one upload to the next.

    It saves players from saying everything each time. Where it was lost, such as when a gateway
    has started anew, what needs it is suspended or not counted, and nothing is counted twice.
    numbers: the sequence numbers that have come. sta, cid: of the last report with a state. device_ms,
    playhead_ms: its time by the device's clock, and where it was in the content.
    """

    clock: Clock = Clock()
    numbers: Numbers | None = None
    sta: str | None = None
    cid: str | None = None
    device_ms: int = 0
    playhead_ms: int | None = None
    kind: str | None = None
    quality: str | None = None


class Adapted(NamedTuple):
    """What an upload came to.

    rows: of usage with USAGE_COLUMNS, which have, besides USAGE_FIELDS, `device_time`: the device's
    own time in ms where it was moved; `sn`: the report's number; `cid`: its content where the
    binding names another. trace: to pass in with the session's next upload, once this one is in the
    log. ignored: how many records said nothing about viewing, by why: `request_mode`, `response`,
    `informational`, `other_player`, `repeat`.
    """

    rows: Rows
    trace: Trace
    ignored: Mapping[str, int]

    @property
    def reading(self) -> Reading:
        """The rows as frames."""
        columns = {name: [row.get(name) for row in self.rows.usage] for name in USAGE_COLUMNS}
        usage = pl.DataFrame(columns, schema=USAGE_COLUMNS)
        return Reading(usage, suspended_frame(self.rows.suspended))

    def log_lines(self, received_ms: int) -> list[LogLine]:
        """The lines of the usage log that the upload comes to, as `to_log_lines` has them."""
        return lines_of_rows(self.rows, USAGE_COLUMNS, received_ms)


class Report(NamedTuple):
    """One event report with its line; placed_ms: when it really happened."""

    raw: bytes
    record: Record
    ts_ms: int
    placed_ms: int = 0


class Refused(Exception):  # noqa: N818 - a reason for suspense, raised to leave the steps early
    """A report that cannot become usage."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


class Ignored(Exception):  # noqa: N818 - as Refused
    """A report that says nothing about viewing; its one argument says why, in a word."""


def adapt_body(
    body: bytes,
    binding: Binding | None,
    received_ms: int,
    *,
    media: str = cmcd.MEDIA_TYPES[0],
    sent_ms: int | None = None,
    trace: Trace | None = None,
    options: Options | None = None,
) -> Adapted:
    """Turn an uploaded body into usage records.

    media: its content type; `application/json` is the JSON of version 1, all else is one record a
    line. received_ms, sent_ms: when it came by our clock, and when it was sent by the device's.
    """
    upload = Upload(binding, received_ms, sent_ms, trace or Trace(), options or Options())
    try:
        if media.partition(";")[0].strip().lower() == "application/json":
            upload.take(cmcd.json_elements(body))
        else:
            upload.take(cmcd.body_lines(body))
    except Rejected as rejected:
        upload.suspend(MALFORMED, rejected.reason, body)
    return upload.finished()


def adapt_request(
    headers: Mapping[str, str],
    query: str,
    binding: Binding | None,
    received_ms: int,
    *,
    sent_ms: int | None = None,
    trace: Trace | None = None,
    options: Options | None = None,
) -> Adapted:
    """Turn the CMCD of a media request into usage records: none, if it is of request mode."""
    upload = Upload(binding, received_ms, sent_ms, trace or Trace(), options or Options())
    try:
        record: Record | Rejected | None = cmcd.read_request(headers, query)
    except Rejected as rejected:
        record = rejected
    if record is not None:
        said = [f"{name}: {text}" for name, text in headers.items() if is_cmcd(name)]
        said = said or cmcd.written_arguments(query)  # the rest of a query may hold a token
        upload.take([("\n".join(said).encode("utf-8", "replace"), record)])
    return upload.finished()


class Upload:
    """The records of one upload on their way; what has come of them so far is its state."""

    def __init__(
        self,
        binding: Binding | None,
        received_ms: int,
        sent_ms: int | None,
        trace: Trace,
        options: Options,
    ) -> None:
        self.binding = binding
        self.received_ms = received_ms
        self.sent_ms = sent_ms
        self.trace = trace
        self.options = options
        self.rows: list[dict[str, Any]] = []
        self.suspended: list[dict[str, Any]] = []
        self.ignored: Counter[str] = Counter()

    def take(self, found: Iterable[tuple[bytes, Record | Rejected]]) -> None:
        """Turn records into rows, each with its line. Raises: Rejected if they are no records."""
        reports: list[Report] = []
        for raw, record in found:
            try:
                reports.append(self._checked(raw, record))
            except Refused as refused:
                self.suspend(refused.reason, refused.detail, raw)
            except Ignored as ignored:
                self.ignored[str(ignored)] += 1
        if self.binding is None:
            return
        for report in self._placed(reports):
            before = self.trace
            try:
                self._add(report, self.binding)
            except Refused as refused:
                self.suspend(refused.reason, refused.detail, report.raw, report.placed_ms)
            except Ignored as ignored:
                self.ignored[str(ignored)] += 1
            if number_of(report) is not None:
                self.trace = self.trace._replace(numbers=numbers_after(before, report))

    def suspend(self, reason: str, detail: str, raw: bytes, placed_ms: int | None = None) -> None:
        """Keep what cannot become usage."""
        account = self.binding.account if self.binding is not None else None
        self.suspended.append(suspended_row(reason, detail, raw, account=account, time=placed_ms))

    def finished(self) -> Adapted:
        """What has come of the upload."""
        return Adapted(Rows(self.rows, self.suspended), self.trace, self.ignored)

    # --- one report ---------------------------------------------------------------------------

    def _checked(self, raw: bytes, record: Record | Rejected) -> Report:
        """A report that belongs to the session and says when. Raises: Refused, Ignored."""
        if self.binding is None:
            raise Refused(UNBOUND, "no token says whose session this is")
        if isinstance(record, Rejected):
            raise Refused(MALFORMED, record.reason)
        values = record.values
        ignored = {note.key: note.sentence for note in record.notes if note.key not in values}
        if "e" not in values and "e" not in ignored:
            raise Ignored("request_mode")
        for key in WEIGHTY:
            if key in ignored:
                raise Refused(MALFORMED, ignored[key])
        sid = values.get("sid", self.binding.session)
        if sid != self.binding.session:
            raise Refused(UNBOUND, f"the token is for another session than {str(sid)[:128]!r}")
        ts = values.get("ts")
        if not isinstance(ts, int):
            raise Refused(MALFORMED, "ts: missing; each event report has one")
        if SECONDS_MIN <= ts < SECONDS_MAX:
            raise Refused(MALFORMED, f"ts: {ts} looks like seconds, expected milliseconds")
        if not 0 <= ts < TS_MS_MAX:
            raise Refused(MALFORMED, f"ts: {ts} is no time in milliseconds since 1970")
        return Report(raw, record, ts)

    def _placed(self, reports: list[Report]) -> list[Report]:
        """The reports in the order in which they were made, and with their real times."""
        ordered = bool(reports) and all(number_of(report) is not None for report in reports)
        if ordered:
            reports = sorted(reports, key=lambda report: cast("int", number_of(report)))
            first = cast("int", number_of(reports[0]))
            ordered = self.trace.numbers is None or first > self.trace.numbers.last
        # A response's time is that of its request, and the clock has gone on since.
        timed = [report for report in reports if report.record.values["e"] != RESPONSE]
        times, clock = place_times(
            [report.ts_ms for report in timed],
            self.received_ms,
            self.sent_ms,
            self.trace.clock,
            ordered=ordered,
        )
        self.trace = self.trace._replace(clock=clock)
        placed = iter(times)
        return [
            report
            if report.record.values["e"] == RESPONSE
            else report._replace(placed_ms=next(placed))
            for report in reports
        ]

    def _add(self, report: Report, binding: Binding) -> None:
        """Add the row of a report. Raises: Refused, Ignored."""
        values = report.record.values
        if values["e"] == RESPONSE:
            raise Ignored("response")  # it says what was fetched
        if is_repeat(self.trace, report):
            raise Ignored("repeat")
        sta = self._sta(report)
        cid = self._cid(values)
        if values.get("nr") is True and self.trace.cid not in (None, cid):
            raise Ignored("other_player")
        same = cid == self.trace.cid
        kind = binding.kind or KINDS.get(str(values.get("st")))
        kind = kind or (self.trace.kind if same else None) or self.options.kind
        if kind is None:
            raise Refused(
                MALFORMED, "st: missing, and neither the token nor the options name a kind"
            )
        quality = binding.quality or quality_of(values, self.options.ladder)
        quality = quality or (self.trace.quality if same else None)
        playhead_ms = playhead_of(values)
        row: dict[str, Any] = {
            "type": "view",
            "time": report.placed_ms,
            "account": binding.account,
            "device": binding.device,
            "session": binding.session,
            "content": binding.content or cid,
            "kind": kind,
            "quality": quality,
            "state": self._state(sta, values),
            "playhead_ms": playhead_ms,
            "rate": rate_of(values),
            "device_time": report.ts_ms if report.ts_ms != report.placed_ms else None,
            "sn": number_of(report),
            "cid": cid if binding.content not in (None, cid) else None,
        }
        self.rows += [*self._start(report, row, cid), row]
        if self._goes_on(report, sta, cid):
            clock, numbers = self.trace.clock, self.trace.numbers
            self.trace = Trace(clock, numbers, sta, cid, report.ts_ms, playhead_ms, kind, quality)

    def _sta(self, report: Report) -> str:
        """The state of a report: its own, or that of the report right before it."""
        values, event = report.record.values, str(report.record.values["e"])
        sta = values.get("sta")
        if sta is not None:
            return str(sta)
        if event == "ps":
            raise Refused(MALFORMED, "sta: missing; the event ps needs it")
        if event not in TELLING:
            raise Ignored("informational")
        before, number = self.trace.numbers, number_of(report)
        follows = number is not None and before is not None and number == before.last + 1
        if (
            self.trace.sta is None
            or not follows
            or values.get("cid", self.trace.cid) != self.trace.cid
        ):
            raise Refused(NO_STATE, "sta: missing, and the report right before it is not known")
        return self.trace.sta

    def _cid(self, values: Mapping[str, Any]) -> str:
        cid = values.get("cid", self.trace.cid or self._bound_content())
        if not cid:
            raise Refused(MALFORMED, "cid: missing or empty, and no earlier report has named it")
        return str(cid)

    def _bound_content(self) -> str | None:
        return self.binding.content if self.binding is not None else None

    def _state(self, sta: str, values: Mapping[str, Any]) -> str:
        """The spec's word for a state; what is not rendered, or stands still, does not play."""
        state = STATES[sta]
        hidden = values.get("bg") is True and not self.options.background
        if state == "playing" and (values.get("nr") is True or values.get("pr") == 0 or hidden):
            return "paused"
        return state

    def _start(self, report: Report, row: dict[str, Any], cid: str) -> list[dict[str, Any]]:
        """The moment at which playing began, where the player has sent no report at it.

        A player that only sends heartbeats says that it is starting, and then that it plays, with
        how long the start took (`msd`). The playhead of both bounds what is counted between them.
        """
        before, delay_ms = self.trace, report.record.values.get("msd")
        if row["state"] != "playing" or before.sta not in BEFORE_START or before.cid != cid:
            return []
        if not isinstance(delay_ms, int) or None in (before.playhead_ms, row["playhead_ms"]):
            return []
        began_ms = before.device_ms + delay_ms
        if delay_ms < 0 or began_ms >= report.ts_ms:
            return []
        placed_ms = report.placed_ms - (report.ts_ms - began_ms)
        moved = None if row["device_time"] is None else began_ms
        return [row | {"time": placed_ms, "device_time": moved, "playhead_ms": before.playhead_ms}]

    def _goes_on(self, report: Report, sta: str, cid: str) -> bool:
        """Whether a report is news of what the session shows."""
        if not is_news(self.trace, report):
            return False
        return self.trace.cid in (None, cid) or STATES[sta] != "stopped"


# --- keys to fields --------------------------------------------------------------------------------


def is_cmcd(header: str) -> bool:
    """Whether a header is one of CMCD's four."""
    return header.lower() in HEADER_NAMES


def number_of(report: Report) -> int | None:
    """The sequence number of a report; None where it has none that can be kept."""
    number = report.record.values.get("sn")
    return number if isinstance(number, int) and abs(number) <= NUMBER_MAX else None


def counts_anew(trace: Trace, report: Report) -> bool:
    """Whether a session has begun to number its reports anew: a lower number at a later time."""
    number, numbers = number_of(report), trace.numbers
    if number is None or numbers is None or number > numbers.last:
        return False
    return trace.sta is not None and report.ts_ms > trace.device_ms


def is_repeat(trace: Trace, report: Report) -> bool:
    """Whether a report has come before; without a number, where it would open what has stopped."""
    number, numbers = number_of(report), trace.numbers
    if number is not None and numbers is not None:
        return numbers.has(number) and not counts_anew(trace, report)
    stopped = trace.sta is not None and STATES[trace.sta] == "stopped"
    return stopped and report.ts_ms <= trace.device_ms


def numbers_after(trace: Trace, report: Report) -> Numbers | None:
    """The numbers that have come, a report's among them."""
    number = number_of(report)
    if number is None:
        return trace.numbers
    return numbers_with(None if counts_anew(trace, report) else trace.numbers, number)


def is_news(trace: Trace, report: Report) -> bool:
    """Whether a report says what the session shows now, and not what it showed before."""
    number = number_of(report)
    if number is not None and trace.numbers is not None and number > trace.numbers.last:
        return True
    return trace.sta is None or report.ts_ms > trace.device_ms


def playhead_of(values: Mapping[str, Any]) -> int | None:
    """Where the player is. Raises: Refused."""
    playhead: int | None = values.get("pt")
    if playhead is not None and abs(playhead) > PLAYHEAD_MS_MAX:
        raise Refused(MALFORMED, f"pt: {playhead} is out of range")
    return playhead


def rate_of(values: Mapping[str, Any]) -> str | None:
    """The playback rate as decimal text; None where it is 1, or 0 and nothing plays."""
    rate = values.get("pr")
    if not isinstance(rate, Decimal) or rate in (0, 1):
        return None
    if abs(rate) * 1000 > RATE_MILLI_MAX:
        raise Refused(MALFORMED, f"pr: {rate} is out of range")
    return f"{rate.quantize(THOUSANDTH, ROUND_HALF_EVEN).normalize():f}"


def quality_of(values: Mapping[str, Any], ladder: tuple[tuple[int, str], ...]) -> str | None:
    """The ladder's word for the picture's bitrate: the one shown, or else the one selected."""
    kbps = picture_kbps(values.get("pb") or values.get("br") or ()) if ladder else None
    if kbps is None:
        return None
    return next((word for floor, word in reversed(ladder) if kbps >= floor), None)


def picture_kbps(items: tuple[cmcd.Item, ...]) -> int | None:
    """The bitrate of what is seen, in kbps; None if the list is only of sound or text."""
    for item in items:
        types = [name for name, _ in item.parameters]
        if not types or any(name in PICTURE for name in types):
            return cast("int", item.value)
    return None
