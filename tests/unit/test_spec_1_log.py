"""Spec section 1: the log clock, the record types, and what is suspended."""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from scenes import (
    DAY_MS,
    HOUR_MS,
    MINUTE_MS,
    SECOND_MS,
    a_book,
    a_plan,
    a_rule,
    an_offer,
    at,
    cancelled,
    column,
    line,
    micros,
    only_charge,
    opened,
    per_hour,
    purchased,
    reasons,
    signal_types,
    topped_up,
    view,
    watch,
)

from tariffs.model import Cap

if TYPE_CHECKING:
    from conftest import RateLog

NOON = at("12:00")
AHEAD_MS = 5 * MINUTE_MS
LATE_MS = 35 * DAY_MS
PREPAID = a_plan(mode="prepaid")
NOBODY = a_book(default_plan=None)

# --- the log clock -------------------------------------------------------------------------------


def test_five_minutes_ahead_of_the_clock_is_still_taken(rate: RateLog) -> None:
    lines = [
        view(NOON + AHEAD_MS, received=NOON),
        view(NOON + AHEAD_MS + 1, received=NOON, session="s2"),
    ]
    outcome = rate([a_book()], lines)
    assert reasons(outcome) == ["clock_ahead"]
    assert outcome.suspense[0]["raw"] == lines[1]
    assert outcome.suspense[0]["time"] == NOON + AHEAD_MS + 1


def test_thirty_five_days_late_is_still_taken(rate: RateLog) -> None:
    lines = [
        view(NOON),
        view(NOON - LATE_MS, received=NOON, session="s2"),
        view(NOON - LATE_MS - 1, received=NOON, session="s3"),
    ]
    outcome = rate([a_book(repeat_ms=40 * DAY_MS)], lines)
    assert reasons(outcome) == ["too_late"]
    assert outcome.suspense[0]["raw"] == lines[2]


def test_received_absent_is_the_time_so_nothing_is_ahead(rate: RateLog) -> None:
    outcome = rate([a_book()], [view(NOON), view(NOON + 30 * DAY_MS, session="s2")])
    assert outcome.suspense == []


def test_the_clock_is_the_running_maximum_of_received(rate: RateLog) -> None:
    lines = [
        view(NOON, received=NOON),
        view(NOON, received=NOON - HOUR_MS, session="s2"),  # The clock stays at noon,
        view(NOON + AHEAD_MS, received=NOON - HOUR_MS, session="s3"),  # so this is not ahead.
    ]
    assert rate([a_book()], lines).suspense == []


def test_the_clock_takes_in_suspended_records_and_other_accounts(rate: RateLog) -> None:
    lines = [
        opened(NOON, "no-such-plan", account="bo"),
        view(NOON - LATE_MS - 1, received=NOON - LATE_MS),
    ]
    assert reasons(rate([a_book()], lines)) == ["too_late", "unknown_plan"]
    ahead = view(NOON + AHEAD_MS + 1, received=NOON)  # Suspended, and yet it moves the clock.
    lines = [ahead, view(NOON - LATE_MS - 1, received=NOON - HOUR_MS)]
    assert reasons(rate([a_book()], lines)) == ["clock_ahead", "too_late"]


def test_malformed_records_do_not_move_the_clock(rate: RateLog) -> None:
    lines = [
        view(NOON + 36 * DAY_MS, state="asleep"),
        view(NOON, received=NOON),
    ]
    assert reasons(rate([a_book()], lines)) == ["malformed"]


# --- leaps of the clock --------------------------------------------------------------------------


def stamped_by_itself(*times: int) -> list[bytes]:
    """Top-ups without `received`, whose ids are their places."""
    return [topped_up(time, "1.00", f"t{place}") for place, time in enumerate(times)]


def test_a_clock_that_leaps_is_suspended_and_leaves_the_log_clock(rate: RateLog) -> None:
    lines = stamped_by_itself(NOON, NOON + LATE_MS + 1, NOON + MINUTE_MS)
    outcome = rate([a_book()], lines)
    assert reasons(outcome) == ["clock_leap"]
    assert outcome.suspense[0]["raw"] == lines[1]
    assert outcome.counts["applied"] == 2  # the last one is not 35 days late


def test_thirty_five_days_are_no_leap(rate: RateLog) -> None:
    lines = stamped_by_itself(NOON, NOON + LATE_MS, NOON + 2 * LATE_MS)
    assert rate([a_book()], lines).suspense == []


def test_a_log_that_was_silent_goes_on_with_its_second_record(rate: RateLog) -> None:
    late = NOON + 400 * DAY_MS
    lines = stamped_by_itself(NOON, late, late + 1, late + 2, NOON)
    outcome = rate([a_book()], lines)
    assert [(row["reason"], row["raw"]) for row in outcome.suspense] == [
        ("clock_leap", lines[1]),
        ("too_late", lines[4]),
    ]


def test_each_wrong_clock_among_right_ones_is_suspended(rate: RateLog) -> None:
    late = NOON + 400 * DAY_MS
    outcome = rate([a_book()], stamped_by_itself(NOON, late, NOON, late, NOON, late))
    assert reasons(outcome) == ["clock_leap"] * 3


def test_a_malformed_record_between_two_leaps_says_nothing(rate: RateLog) -> None:
    first, leap, again = stamped_by_itself(NOON, NOON + 400 * DAY_MS, NOON + 400 * DAY_MS)
    outcome = rate([a_book()], [first, leap, b"nonsense", again])
    assert reasons(outcome) == ["clock_leap", "malformed"]


def test_the_first_record_sets_the_clock(rate: RateLog) -> None:
    assert rate([a_book()], stamped_by_itself(NOON)).suspense == []


def test_received_may_leap_and_the_next_record_with_it(rate: RateLog) -> None:
    late = NOON + 400 * DAY_MS
    lines = [
        topped_up(NOON, "1.00", "t1"),
        topped_up(late, "1.00", "t2", received=late),
        topped_up(late + 400 * DAY_MS, "1.00", "t3"),  # the one before it had leapt, too
    ]
    assert rate([a_book()], lines).suspense == []


def test_a_leap_is_known_in_the_next_batch(rate: RateLog) -> None:
    late = NOON + 400 * DAY_MS
    outcome = rate([a_book()], stamped_by_itself(NOON, late, late, late), batch=1)
    assert reasons(outcome) == ["clock_leap"]


# --- before the first book -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "record",
    [opened, partial(topped_up, amount="1.00"), purchased, cancelled],
    ids=lambda record: getattr(record, "__name__", "topped_up"),
)
def test_records_before_the_first_book_are_suspended_but_views(rate: RateLog, record: Any) -> None:
    book = a_book(effective_from_ms=NOON, offers=(an_offer(),))
    lines = [view(NOON - 1), record(NOON - 1), line("account.subscribe", NOON - 1, package="x")]
    outcome = rate([book], lines)
    assert reasons(outcome) == ["no_book", "no_book"]
    assert outcome.counts["applied"] == 1


def test_an_account_is_opened_from_the_first_books_instant_on(rate: RateLog) -> None:
    outcome = rate([a_book(effective_from_ms=NOON)], [opened(NOON)])
    assert outcome.suspense == []


# --- accounts ------------------------------------------------------------------------------------

TWO_PLANS = a_book(
    a_plan(a_rule(per_hour("6.00"))),
    a_plan(
        a_rule(per_hour("12.00"), "r-se", region=("SE",)),
        a_rule(per_hour("18.00"), "r-any"),
        id="q",
    ),
)


def test_a_never_opened_account_has_the_default_plan_and_no_region(rate: RateLog) -> None:
    book = a_book(a_plan(a_rule(region=("SE",)), a_rule(per_hour("1.00"), "r2")))
    charge = only_charge(rate([book], watch(NOON, NOON + HOUR_MS)))
    assert (charge["plan"], charge["rule"], charge["net"]) == ("p", "r2", micros("1.00"))


def test_opening_sets_plan_and_region_and_opening_again_changes_them(rate: RateLog) -> None:
    lines = [
        opened(NOON, "q", region="SE"),
        *watch(NOON, NOON + HOUR_MS),
        opened(NOON + HOUR_MS, "q", region=""),
        *watch(NOON + HOUR_MS, NOON + 2 * HOUR_MS, session="s2"),
        opened(NOON + 2 * HOUR_MS, "p"),
        *watch(NOON + 2 * HOUR_MS, NOON + 3 * HOUR_MS, session="s3"),
    ]
    outcome = rate([TWO_PLANS], lines)
    assert column(outcome.charges, "rule") == ["r-se", "r-any", "r"]
    assert column(outcome.charges, "net") == [micros("12"), micros("18"), micros("6")]


def test_what_opening_again_does_not_name_stays(rate: RateLog) -> None:
    """Bill day 15 and SE stay over an opening without them, and each goes by itself."""
    rule = a_rule(per_hour("6.00"), region=("SE",), per="month")
    book = a_book(a_plan(rule, caps=(Cap("cap", micros("6.00")),)))
    start, hours = at("12:00", "2026-03-14"), [0, 2, 24, 26]
    opening: list[dict[str, Any]] = [{"region": "SE", "bill_day": 15}, {}, {}, {"bill_day": 16}]
    lines = []
    for hour, fields in zip(hours, opening, strict=True):
        begin = start + hour * HOUR_MS
        lines += [opened(begin, **fields)]
        lines += watch(begin, begin + HOUR_MS, session=str(hour))
    outcome = rate([book], lines)
    # The 14th is in the month of February, whose cap its first hour uses up. On the 15th March
    # begins; with bill day 16 that day is in February again.
    assert column(outcome.charges, "net") == [micros("6"), 0, micros("6"), 0]


def test_a_bill_day_and_a_region_may_still_be_set_to_nothing(rate: RateLog) -> None:
    rules = (a_rule(region=("SE",)), a_rule(per_hour("1.00"), "r2"))
    lines = [
        opened(NOON, region="SE"),
        opened(NOON, region=""),
        *watch(NOON, NOON + HOUR_MS),
    ]
    assert only_charge(rate([a_book(a_plan(*rules))], lines))["rule"] == "r2"


def test_an_account_never_opened_keeps_the_default_plan_of_its_first_record(rate: RateLog) -> None:
    later = a_book(a_plan(), a_plan(id="q"), id="b2", effective_from_ms=NOON, default_plan="q")
    before = NOON - 5 * MINUTE_MS
    lines = [
        purchased(before, "no-such-offer"),  # suspended, so it decides nothing
        line("account.unsubscribe", before, account="bo", package="x"),
        *watch(NOON, NOON + HOUR_MS),
        *watch(NOON, NOON + HOUR_MS, account="bo"),
    ]
    outcome = rate([a_book(), later], lines)
    plans = {row["account"]: row["plan"] for row in outcome.charges}
    assert plans == {"anna": "q", "bo": "p"}


def test_opening_again_keeps_balance_and_packages(rate: RateLog) -> None:
    book = a_book(PREPAID, packages=(("extra", ("c1",)),))
    lines = [
        opened(NOON),
        topped_up(NOON, "10.00"),
        line("account.subscribe", NOON, package="extra"),
        opened(NOON),
        *watch(NOON, NOON + HOUR_MS),
    ]
    outcome = rate([book], lines)
    assert outcome.balances == {"anna": micros("10.00")}
    assert only_charge(outcome)["rule"] == "package:extra"


def test_opening_with_a_plan_that_the_book_lacks_changes_nothing(rate: RateLog) -> None:
    lines = [opened(NOON, "q", region="SE"), opened(NOON, "r"), *watch(NOON, NOON + HOUR_MS)]
    outcome = rate([TWO_PLANS], lines)
    assert reasons(outcome) == ["unknown_plan"]
    assert only_charge(outcome)["rule"] == "r-se"


def test_the_plan_is_looked_up_in_the_book_in_force_at_the_records_time(rate: RateLog) -> None:
    later = a_book(a_plan(id="new"), id="b2", effective_from_ms=NOON, default_plan="new")
    lines = [
        opened(NOON - 1, "new", received=NOON + 1),
        opened(NOON, "new"),
        opened(NOON, "p", account="bo"),
        opened(NOON - 1, "p", account="bo"),
    ]
    outcome = rate([a_book(), later], lines)
    assert [row["raw"] for row in outcome.suspense] == [lines[0], lines[2]]
    assert outcome.counts["applied"] == 2


@pytest.mark.parametrize(
    "usage",
    [
        view(NOON),
        view(NOON, "stopped"),
        line("account.subscribe", NOON, package="extra"),
        line("account.unsubscribe", NOON, package="extra"),
        topped_up(NOON, "1.00"),
        purchased(NOON),
        cancelled(NOON),
    ],
)
def test_without_a_default_plan_an_unknown_account_is_suspended(
    rate: RateLog, usage: bytes
) -> None:
    outcome = rate([NOBODY], [usage, opened(NOON, account="bo")])
    assert reasons(outcome) == ["unknown_account"]
    assert outcome.counts["suspended"] == 1
    assert outcome.counts["applied"] == 1


def test_an_opened_account_needs_no_default_plan(rate: RateLog) -> None:
    outcome = rate([NOBODY], [opened(NOON), *watch(NOON, NOON + HOUR_MS)])
    assert only_charge(outcome)["net"] == micros("6.00")


def test_a_subscribed_package_covers_until_it_is_given_up(rate: RateLog) -> None:
    book = a_book(packages=(("extra", ("c1",)),))
    lines = [
        *watch(NOON, NOON + HOUR_MS),
        line("account.subscribe", NOON + HOUR_MS, package="extra"),
        *watch(NOON + HOUR_MS, NOON + 2 * HOUR_MS, session="s2"),
        line("account.unsubscribe", NOON + 2 * HOUR_MS, package="extra"),
        line("account.unsubscribe", NOON + 2 * HOUR_MS, package="never-had"),
        *watch(NOON + 2 * HOUR_MS, NOON + 3 * HOUR_MS, session="s3"),
    ]
    outcome = rate([book], lines)
    assert column(outcome.charges, "rule") == ["r", "package:extra", "r"]
    assert outcome.suspense == []


def test_subscribing_to_a_package_that_the_book_lacks_is_suspended(rate: RateLog) -> None:
    outcome = rate([a_book()], [line("account.subscribe", NOON, package="extra")])
    assert reasons(outcome) == ["unknown_package"]


# --- top-ups -------------------------------------------------------------------------------------


def test_a_top_up_counts_once_for_each_id(rate: RateLog) -> None:
    lines = [
        topped_up(NOON, "10.00", "t1", currency="SEK"),
        topped_up(NOON, "10.00", "t1"),
        topped_up(NOON, "99.00", "t1", currency="EUR"),  # The id is known: a duplicate first.
        topped_up(NOON, "0.000001", "t2"),
        topped_up(NOON, "10.00", "t1", account="bo"),
    ]
    outcome = rate([a_book(PREPAID)], lines)
    assert outcome.balances == {"anna": 10_000_001, "bo": 10_000_000}
    assert outcome.counts["duplicates"] == 2
    assert outcome.counts["applied"] == 3


def test_another_currency_is_suspended_and_its_id_may_come_again(rate: RateLog) -> None:
    lines = [
        topped_up(NOON, "10.00", currency="EUR"),
        topped_up(NOON, "10.00", currency="SEK"),
    ]
    outcome = rate([a_book(PREPAID)], lines)
    assert reasons(outcome) == ["currency_mismatch"]
    assert outcome.balances == {"anna": micros("10.00")}


def test_ids_of_top_ups_and_of_orders_are_separate(rate: RateLog) -> None:
    book = a_book(PREPAID, offers=(an_offer(),))
    outcome = rate([book], [topped_up(NOON, "60.00", "same"), purchased(NOON, id_="same")])
    assert outcome.counts["duplicates"] == 0
    assert outcome.balances == {"anna": micros("10.00")}
    assert signal_types(outcome) == ["order.accepted"]


# --- what is malformed ---------------------------------------------------------------------------

VIEW = json.loads(view(NOON))
OPEN = json.loads(opened(NOON))
TOP_UP = json.loads(topped_up(NOON, "1.00"))
BUY = json.loads(purchased(NOON))
CANCEL = json.loads(cancelled(NOON))
SUBSCRIBE = json.loads(line("account.subscribe", NOON, package="extra"))


def without(usage: dict[str, Any], name: str) -> bytes:
    return json.dumps({key: value for key, value in usage.items() if key != name}).encode()


def having(usage: dict[str, Any], **changes: Any) -> bytes:
    return json.dumps(usage | changes).encode()


def named(case: object) -> str:
    """A case in the name of its test: not at any length."""
    return f"{case!r:.200}"


def with_rate(text: str) -> bytes:
    """A view whose rate is written in just this way."""
    return view(NOON).replace(b"}", b', "rate": ' + text.encode() + b"}")


REQUIRED = [
    (VIEW, ("type", "time", "account", "device", "session", "content", "kind", "state")),
    (OPEN, ("type", "time", "account", "plan")),
    (SUBSCRIBE, ("type", "time", "account", "package")),
    (SUBSCRIBE | {"type": "account.unsubscribe"}, ("package",)),
    (TOP_UP, ("type", "time", "account", "id", "amount")),
    (BUY, ("type", "time", "account", "id", "offer")),
    (CANCEL, ("type", "time", "account", "id", "order")),
]
# The texts of each type, but for the account.
TEXTS = [
    *((VIEW, name) for name in ("device", "session", "content", "kind", "quality")),
    *((OPEN, name) for name in ("plan", "region")),
    *((SUBSCRIBE, name) for name in ("package",)),
    *((TOP_UP, name) for name in ("id", "currency")),
    *((BUY, name) for name in ("id", "offer", "quality", "device")),
    *((CANCEL, name) for name in ("id", "order")),
]
MALFORMED = [
    *(having(usage, **{name: "x" * 513}) for usage, name in TEXTS),
    *(having(usage, **{name: "x" + "é" * 256}) for usage, name in TEXTS),
    *(having(usage, **{name: "x" * 70_000}) for usage, name in TEXTS),
    *(having(usage, **{name: "a\ud800"}) for usage, name in TEXTS),
    having(VIEW, time="1999-12-31T23:59:59.999Z"),
    having(VIEW, time="2200-01-01T00:00:00Z"),
    having(VIEW, time="2000-01-01T00:00:00+00:01"),
    having(VIEW, time="0001-01-02T00:00:00Z"),
    having(VIEW, time="2026-03-02T12:00:00." + "0" * 500 + "Z"),
    having(VIEW, time=946_684_799_999),
    having(VIEW, received=7_258_118_400_000),
    having(TOP_UP, amount="0"),
    having(TOP_UP, amount="0.000000"),
    having(TOP_UP, amount="0" * 512 + "1"),
    *(without(usage, name) for usage, names in REQUIRED for name in names),
    *(having(usage, **{name: ""}) for usage, names in REQUIRED for name in names),
    *(having(usage, **{name: None}) for usage, names in REQUIRED for name in names),
    *(having(usage, **{name: True}) for usage, names in REQUIRED for name in names),
    *(having(usage, **{name: ["x"]}) for usage, names in REQUIRED for name in names),
    b"nonsense",
    b"{",
    b"[]",
    b"1",
    b'"view"',
    b"null",
    b"\xff\xfe",
    view(NOON)[:-1],
    view(NOON) + b"}",
    view(NOON) + view(NOON),
    view(NOON).replace(b"anna", b"ann\xe5"),
    view(NOON).replace(b'"anna"', b'"\\ud83d"'),
    view(NOON).replace(b'"anna"', b"'anna'"),
    view(NOON).replace(b'"anna"', b'"an\tna"'),
    view(NOON).replace(b"}", b",}"),
    with_rate("NaN"),
    with_rate("-Infinity"),
    with_rate("01"),
    having(VIEW, type="watch"),
    having(VIEW, type="View"),
    having(VIEW, state="PLAYING"),
    having(VIEW, account="x" * 129),
    having(VIEW, account=7),
    having(VIEW, time=float(NOON)),
    having(VIEW, time=str(NOON)),
    having(VIEW, time=-(10**17)),
    having(VIEW, time="2026-03-02"),
    having(VIEW, time="2026-03-02T12:00:00"),
    having(VIEW, time="2026-03-02T12:00Z"),
    having(VIEW, time="2026-03-02T12:00:60Z"),
    having(VIEW, time="2026-03-02T24:00:00Z"),
    having(VIEW, time="2026-02-29T12:00:00Z"),
    having(VIEW, time="2026-03-02T12:00:00.Z"),
    having(VIEW, time="2026-03-02T12:00:00+0100"),
    having(VIEW, time="2026-03-02T12:00:00+24:00"),
    having(VIEW, time="2026-03-02T12:00:00 +01:00"),
    having(VIEW, time="٢٠٢٦-03-02T12:00:00Z"),
    having(VIEW, received=None),
    having(VIEW, received=""),
    having(VIEW, received=1.5),
    having(VIEW, quality=7),
    having(VIEW, quality=None),
    having(VIEW, playhead_ms=1.0),
    having(VIEW, playhead_ms="1"),
    having(VIEW, playhead_ms=None),
    having(VIEW, playhead_ms=10**15 + 1),
    having(VIEW, rate="1"),
    having(VIEW, rate=None),
    having(VIEW, rate=True),
    having(VIEW, rate=1.0005),
    having(VIEW, rate=1e-300),
    having(VIEW, rate=1_000_001),
    having(OPEN, region=None),
    having(OPEN, region=7),
    having(OPEN, bill_day=0),
    having(OPEN, bill_day=29),
    having(OPEN, bill_day="1"),
    having(OPEN, bill_day=1.0),
    having(TOP_UP, amount=1),
    having(TOP_UP, amount="-1"),
    having(TOP_UP, amount="+1"),
    having(TOP_UP, amount="1,50"),
    having(TOP_UP, amount="1.0000001"),
    having(TOP_UP, amount="1e3"),
    having(TOP_UP, amount=" 1"),
    having(TOP_UP, amount="1."),
    having(TOP_UP, amount=".5"),
    having(TOP_UP, amount="NaN"),
    having(TOP_UP, amount="1000000000.000001"),
    having(TOP_UP, amount="9" * 10_000),
    having(TOP_UP, currency=""),
    having(TOP_UP, currency=None),
    having(BUY, device=""),
    having(BUY, quality=1),
]


@pytest.mark.parametrize("usage", MALFORMED, ids=named)
def test_malformed_records_are_suspended_with_their_bytes(rate: RateLog, usage: bytes) -> None:
    outcome = rate([a_book()], [usage, view(NOON)])
    (row,) = outcome.suspense
    assert (row["reason"], bytes(row["raw"])) == ("malformed", usage)
    assert row["detail"]
    assert row["source"]
    assert outcome.counts["suspended"] == 1
    assert outcome.counts["applied"] == 1


NOON_TEXTS = [
    "2026-03-02T12:00:00Z",
    "2026-03-02t12:00:00z",
    "2026-03-02T12:00:00+00:00",
    "2026-03-02T12:00:00-00:00",
    "2026-03-02T17:45:00+05:45",
    "2026-03-02T08:30:00-03:30",
    "2026-03-03T11:59:00+23:59",
    "2026-03-02T12:00:00.0Z",
    "2026-03-02T12:00:00.0009Z",
    "2026-03-02T12:00:00.000999999999999Z",
]


@pytest.mark.parametrize("text", NOON_TEXTS)
def test_a_time_may_be_text_of_rfc_3339(rate: RateLog, text: str) -> None:
    charge = only_charge(rate([a_book()], [view(text), view(NOON + 1_500, "stopped")]))
    assert (charge["start"], charge["watched_ms"]) == (NOON, 1_500)


def test_what_is_finer_than_a_millisecond_is_cut_off(rate: RateLog) -> None:
    lines = [view("2026-03-02T12:00:00.0019Z"), view("2026-03-02T12:00:01.9Z", "stopped")]
    charge = only_charge(rate([a_book()], lines))
    assert (charge["start"], charge["end"]) == (NOON + 1, NOON + 1_900)
    assert (charge["slot"], charge["watched_ms"]) == (NOON, 1_899)


@pytest.mark.parametrize(
    ("first", "last", "start"),
    [
        ("2000-01-01T00:00:00Z", "2000-01-01T00:00:30Z", 946_684_800_000),
        ("2199-12-31T23:59:29.999Z", "2199-12-31T23:59:59.999Z", 7_258_118_369_999),
        ("2000-01-01T14:00:00+14:00", "2000-01-01T14:00:30+14:00", 946_684_800_000),
    ],
)
def test_the_first_and_the_last_times_are_charged(
    rate: RateLog, first: str, last: str, start: int
) -> None:
    charge = only_charge(rate([a_book()], [view(first), view(last, "stopped")]))
    assert (charge["start"], charge["watched_ms"]) == (start, 30_000)


WELL_FORMED = [
    having(VIEW, account="x" * 128),
    having(VIEW, account="😀" * 128),
    having(VIEW, account=" "),
    having(VIEW, device="|", session='"', content="\\", kind="another word"),
    having(VIEW, quality=""),
    without(VIEW, "quality"),
    having(VIEW, playhead_ms=-(10**15)),
    having(VIEW, rate=0),
    having(VIEW, rate=-1.5),
    having(VIEW, rate=1.250),
    with_rate("1.5000"),
    with_rate("25e-2"),
    with_rate("-0.0"),
    having(VIEW, rate=1_000_000),
    having(VIEW, unknown={"deep": [None, 1.5e300]}),
    having(VIEW, bill_day=99),
    json.dumps(VIEW, indent=1).replace("\n", "\r").encode(),
    b" \t" + view(NOON) + b"\r",
    having(OPEN, region="", bill_day=28),
    having(TOP_UP, amount="0.000001"),
    having(TOP_UP, amount="007.10"),
    having(TOP_UP, amount="0" * 511 + "1"),
    having(TOP_UP, amount="1000000000"),
]


@pytest.mark.parametrize(("usage", "name"), TEXTS)
@pytest.mark.parametrize("text", ["x" * 512, "😀" * 128], ids=["plain", "wide"])
def test_a_text_may_have_512_bytes(
    rate: RateLog, usage: dict[str, Any], name: str, text: str
) -> None:
    outcome = rate([a_book()], [having(usage, **{name: text})])
    # Some are suspended for what they say, since the book has no such word.
    assert "malformed" not in [row["reason"] for row in outcome.suspense]


@pytest.mark.parametrize("usage", WELL_FORMED, ids=named)
def test_these_are_well_formed(rate: RateLog, usage: bytes) -> None:
    outcome = rate([a_book()], [usage])
    assert outcome.suspense == []
    assert outcome.counts["applied"] == 1


def test_the_last_of_a_repeated_field_counts(rate: RateLog) -> None:
    twice = view(NOON).replace(b'"time": ', b'"time": "never", "time": ')
    assert rate([a_book()], [twice]).counts["applied"] == 1


def test_unicode_is_the_same_written_out_or_escaped(rate: RateLog) -> None:
    plain = view(NOON, account="Åsa-😀")
    escaped = json.dumps(json.loads(view(NOON + SECOND_MS, "stopped", account="Åsa-😀"))).encode()
    assert b"\\ud83d" in escaped
    assert only_charge(rate([a_book()], [plain, escaped]))["account"] == "Åsa-😀"


def test_a_blank_line_holds_no_record(rate: RateLog) -> None:
    outcome = rate([a_book()], [b"", b"  ", b"\r", view(NOON)])
    assert outcome.counts["records"] == 1
    assert outcome.suspense == []


def test_a_suspended_record_says_what_it_was(rate: RateLog) -> None:
    usage = opened(NOON, "no-such-plan", account="bo")
    (row,) = rate([a_book()], [view(NOON), usage]).suspense
    said = {name: row[name] for name in ("reason", "account", "time", "type")}
    assert said == {
        "reason": "unknown_plan",
        "account": "bo",
        "time": NOON,
        "type": "account.open",
    }
    assert bytes(row["raw"]) == usage
    assert row["source"] == "log:2"


def suspended_before(**fields: object) -> bytes:
    line = {"type": "ingest.suspended", "reason": "unbound", "detail": "no token", "raw": "//57"}
    return json.dumps({**line, **fields}).encode()


def test_what_was_suspended_before_the_log_keeps_its_reason_and_its_bytes(rate: RateLog) -> None:
    late = NOON + 40 * DAY_MS
    outcome = rate([a_book()], [suspended_before(received=late, account="anna"), view(NOON)])
    (row,) = outcome.suspense
    said = (row["reason"], row["detail"], bytes(row["raw"]), row["source"])
    assert said == ("unbound", "no token", b"\xff\xfe\x7b", "log:1")
    assert outcome.counts["suspended"] == 1
    assert outcome.counts["applied"] == 1  # the clock did not move, so the view is not too late


@pytest.mark.parametrize(
    "wrong",
    [
        {"reason": None},
        {"reason": "Not Bound"},
        {"reason": ""},
        {"detail": 7},
        {"detail": ""},
        {"detail": "two\nlines"},
        {"raw": None},
        {"raw": "no base64!"},
    ],
    ids=named,
)
def test_a_broken_line_of_that_type_is_itself_malformed(
    rate: RateLog, wrong: dict[str, object]
) -> None:
    line = suspended_before(**wrong)
    (row,) = rate([a_book()], [line]).suspense
    assert row["reason"] == "malformed"
    assert bytes(row["raw"]) == line
