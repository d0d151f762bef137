"""Spec section 6: how pieces gather into charges, what a charge is called, and when it ends."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid5

from scenes import (
    HOUR_MS,
    MINUTE_MS,
    PERCENT,
    SECOND_MS,
    a_book,
    a_plan,
    a_rule,
    an_offer,
    at,
    cancelled,
    column,
    only_charge,
    opened,
    per_hour,
    purchased,
    reasons,
    view,
    watch,
)

if TYPE_CHECKING:
    from conftest import RateLog

T = at("12:00")
NAMESPACE = UUID("6e1e2545-0000-5000-8000-000000000000")


def named(name: str) -> str:
    return str(uuid5(NAMESPACE, name))


# --- names ---------------------------------------------------------------------------------------


def test_a_usage_charge_is_named_after_its_line(rate: RateLog) -> None:
    start = at("12:50:00.001")
    outcome = rate([a_book()], watch(start, at("13:10")))
    slots = (T, T + HOUR_MS)
    names = [f"usage|anna|tv|s1|c1|hd|{start}|p|b|r|{slot}" for slot in slots]
    assert column(outcome.charges, "charge_id") == [named(name) for name in names]
    assert column(outcome.charges, "slot") == list(slots)
    assert column(outcome.charges, "start") == [start, T + HOUR_MS]
    assert column(outcome.charges, "end") == [T + HOUR_MS, at("13:10")]


def test_the_name_known_from_elsewhere(rate: RateLog) -> None:
    """Worked out by another program: uuid5 of this very name."""
    lines = watch(1772813460000, 1772813468000, account="anna", session="a2", content="cinema")
    plan = a_plan(a_rule(id_="premium-hours"), id="family")
    book = a_book(plan, id="nordic-2026-01", default_plan="family")
    charge = only_charge(rate([book], lines))
    assert charge["charge_id"] == "06a13b46-8561-57d8-afb5-b3c447a7292e"


def test_the_segment_start_is_the_sessions_not_the_first_pieces(rate: RateLog) -> None:
    lines = [view(T, "starting"), view(T + SECOND_MS), view(T + MINUTE_MS, "stopped")]
    charge = only_charge(rate([a_book()], lines))
    assert charge["start"] == T + SECOND_MS
    assert charge["charge_id"] == named(f"usage|anna|tv|s1|c1|hd|{T}|p|b|r|{T}")


def test_a_new_segment_gives_its_own_start_to_the_name(rate: RateLog) -> None:
    lines = [
        view(T),
        view(T + 10_000, content="c2"),  # a zap
        view(T + 20_000, content="c2"),
        view(T + 200_000, content="c2"),  # a gap longer than a heartbeat
        view(T + 210_000, "stopped", content="c2"),
    ]
    outcome = rate([a_book(heartbeat_timeout_ms=90_000)], lines)
    segments = [("c1", T), ("c2", T + 10_000), ("c2", T + 200_000)]
    names = [f"usage|anna|tv|s1|{content}|hd|{start}|p|b|r|{T}" for content, start in segments]
    assert column(outcome.charges, "charge_id") == [named(name) for name in names]


def test_covered_lines_are_named_after_what_covers_them(rate: RateLog) -> None:
    book = a_book(
        a_plan(includes=("basic",)),
        packages=(("basic", ("c2",)),),
        offers=(an_offer(),),
    )
    lines = [
        purchased(T),
        *watch(T, T + MINUTE_MS),
        *watch(T, T + MINUTE_MS, session="s2", content="c2", quality=None),
    ]
    ids = {row["rule"]: row["charge_id"] for row in rate([book], lines).charges if row["session"]}
    assert ids == {
        "offer:o": named(f"usage|anna|tv|s1|c1|hd|{T}|p|b|offer:o|{T}"),
        "package:basic": named(f"usage|anna|tv|s2|c2||{T}|p|b|package:basic|{T}"),
    }


def test_purchases_and_refunds_are_named_after_their_order(rate: RateLog) -> None:
    offer = an_offer("rental", cancel="before_play")
    outcome = rate([a_book(offers=(offer,))], [purchased(T), cancelled(T + 1)])
    ids = {row["type"]: row["charge_id"] for row in outcome.charges}
    assert ids == {"purchase": named("purchase|anna|o1"), "refund": named("refund|anna|o1")}


def test_names_are_utf_8(rate: RateLog) -> None:
    lines = watch(T, T + MINUTE_MS, account="Åsa", content="fußball-⚽", session="a|b")
    charge = only_charge(rate([a_book()], lines))
    assert charge["charge_id"] == named(rf"usage|Åsa|tv|a\|b|fußball-⚽|hd|{T}|p|b|r|{T}")


def test_each_part_of_a_name_is_escaped(rate: RateLog) -> None:
    rule = a_rule(id_="r|\\")
    book = a_book(a_plan(rule, id="p|"), id="b\\", default_plan="p|")
    texts = {"account": "a|", "device": "\\", "session": "|", "content": "c\\|", "quality": "||"}
    charge = only_charge(rate([book], watch(T, T + MINUTE_MS, **texts)))
    name = rf"usage|a\||\\|\||c\\\||\|\||{T}|p\||b\\|r\|\\|{T}"
    assert charge["charge_id"] == named(name)
    assert (charge["account"], charge["rule"]) == ("a|", "r|\\")  # the columns are as they came


def test_orders_of_two_accounts_never_have_one_name(rate: RateLog) -> None:
    lines = [purchased(T, id_="c", account="a|b"), purchased(T, id_="b|c", account="a")]
    outcome = rate([a_book(offers=(an_offer(),))], lines)
    ids = {row["account"]: row["charge_id"] for row in outcome.charges}
    assert ids == {"a|b": named(r"purchase|a\|b|c"), "a": named(r"purchase|a|b\|c")}


# --- what makes a line ---------------------------------------------------------------------------


def test_a_line_holds_one_quality_plan_book_rule_and_hour(rate: RateLog) -> None:
    rules = [a_rule(id_="early", kind=("vod",)), a_rule(id_="other")]
    later = a_book(a_plan(*rules), id="b2", effective_from_ms=at("12:40"))
    first = a_book(a_plan(*rules), a_plan(a_rule(id_="rq"), id="q"))
    lines = [
        view(T, kind="vod"),
        view(at("12:10")),  # now kind channel, so rule "other"
        view(at("12:20"), quality="uhd"),
        opened(at("12:20"), "q"),
        view(at("12:30"), quality="uhd"),  # uhd under plan q
        opened(at("12:30"), "p"),
        view(at("13:10"), "stopped"),  # book b2 from 12:40, the next hour from 13:00
    ]
    charges = rate([first, later], lines).charges
    kept = ("quality", "plan", "book", "rule", "slot", "watched_ms")
    rows = {tuple(row[name] for name in kept) for row in charges}
    ten = 10 * MINUTE_MS
    assert rows == {
        ("hd", "p", "b", "early", T, ten),
        ("hd", "p", "b", "other", T, ten),
        ("uhd", "q", "b", "rq", T, ten),
        ("uhd", "p", "b", "other", T, ten),
        ("uhd", "p", "b2", "other", T, 2 * ten),
        ("uhd", "p", "b2", "other", T + HOUR_MS, ten),
    }
    assert len(charges) == len(rows)


def test_what_a_package_covers_under_two_plans_is_two_lines(rate: RateLog) -> None:
    plans = (a_plan(includes=("all",)), a_plan(a_rule(id_="rq"), id="q", includes=("all",)))
    book = a_book(*plans, packages=(("all", ("c1",)),))
    lines = [view(T), view(T + 10_000), opened(T, "q"), view(T + 30_000, "stopped")]
    outcome = rate([book], lines)
    assert column(outcome.charges, "plan") == ["p", "q"]
    assert column(outcome.charges, "watched_ms") == [10_000, 20_000]


def test_pieces_of_the_same_line_meet_again_within_the_hour(rate: RateLog) -> None:
    book = a_book(a_plan(), a_plan(a_rule(id_="rq"), id="q"))
    lines = [
        view(T),
        view(T + 10_000),
        opened(T + 10_000, "q"),
        view(T + 20_000),
        opened(T + 20_000, "p"),
        view(T + 30_000, "stopped"),
    ]
    outcome = rate([book], lines)
    spans = [(row["start"] - T, row["end"] - T, row["watched_ms"]) for row in outcome.charges]
    assert sorted(spans) == [(0, 30_000, 20_000), (10_000, 20_000, 10_000)]


def test_the_kind_and_the_taxed_region_are_those_of_the_lines_beginning(rate: RateLog) -> None:
    book = a_book(tax=(("SE", 25 * PERCENT), ("NO", 50 * PERCENT)))
    lines = [
        opened(T, region="SE"),
        view(T, kind="channel"),
        view(T + 30 * MINUTE_MS, kind="catchup"),
        opened(T + 30 * MINUTE_MS, region="NO"),
        view(T + 90 * MINUTE_MS, "stopped"),
    ]
    outcome = rate([book], lines)
    # 12:00 to 13:00 is one line, begun as channel in SE; 13:00 to 13:30 begins in NO.
    assert column(outcome.charges, "kind") == ["channel", "catchup"]
    assert column(outcome.charges, "net") == [6_000_000, 3_000_000]
    assert column(outcome.charges, "tax") == [1_500_000, 1_500_000]


def test_utc_hours_also_where_local_ones_differ(rate: RateLog) -> None:
    book = a_book(timezone="Asia/Kolkata")
    outcome = rate([book], watch(at("12:15"), at("13:15")))
    assert column(outcome.charges, "slot") == [T, T + HOUR_MS]


# --- when a line ends ----------------------------------------------------------------------------


def lines_ended(rate: RateLog, lines: list[bytes], **changes: Any) -> list[int]:
    """The slots, in hours after noon, of the charges there are before sessions are closed."""
    outcome = rate([a_book(**changes)], lines, close=False)
    return [(slot - T) // HOUR_MS for slot in column(outcome.charges, "slot")]


def test_a_line_stays_open_until_the_session_has_a_piece_in_a_later_hour(rate: RateLog) -> None:
    start = at("12:30")
    assert lines_ended(rate, [view(start), view(T + HOUR_MS)]) == []
    assert lines_ended(rate, [view(start), view(T + HOUR_MS), view(T + HOUR_MS + 1)]) == [0]
    assert lines_ended(rate, [view(start), view(T + 3 * HOUR_MS)]) == [0, 1]


def test_the_hour_of_another_session_ends_nothing(rate: RateLog) -> None:
    later = [view(T + HOUR_MS, session="s2"), view(T + 2 * HOUR_MS, session="s2")]
    assert lines_ended(rate, [view(T), view(T + MINUTE_MS), *later]) == []


def test_a_suspended_piece_ends_the_lines_of_earlier_hours_too(rate: RateLog) -> None:
    book = a_book(a_plan(a_rule(quality=("hd",))))
    lines = [view(T), view(T + HOUR_MS, quality="sd"), view(T + HOUR_MS + 1, quality="sd")]
    outcome = rate([book], lines, close=False)
    assert only_charge(outcome)["slot"] == T
    assert outcome.suspense == []


def test_all_lines_end_with_the_segment(rate: RateLog) -> None:
    lines = [view(T), view(T + 1, quality="uhd"), view(T + 2, quality="uhd")]
    assert lines_ended(rate, lines) == []
    assert lines_ended(rate, [*lines, view(T + 3, content="c2")]) == [0, 0]
    assert lines_ended(rate, [*lines, view(T + 3, "stopped")]) == [0, 0]


def test_closing_ends_every_session_where_its_evidence_ends(rate: RateLog) -> None:
    lines = [view(T), view(T + MINUTE_MS), view(T, account="bo"), view(T + 1, account="bo")]
    assert rate([a_book()], lines, close=False).charges == []
    outcome = rate([a_book()], lines)
    assert column(outcome.charges, "end") == [T + MINUTE_MS, T + 1]


def test_a_charge_of_zero_is_a_charge(rate: RateLog) -> None:
    book = a_book(a_plan(a_rule(per_hour("0.00"))))
    assert only_charge(rate([book], watch(T, T + MINUTE_MS)))["total"] == 0


# --- suspense of pieces --------------------------------------------------------------------------


def test_suspended_pieces_gather_like_lines_without_a_rule(rate: RateLog) -> None:
    book = a_book(a_plan(a_rule(kind=("vod",))))
    lines = [
        view(at("12:20")),
        view(at("12:30"), quality="uhd"),
        view(at("12:40")),
        view(at("13:10"), "stopped"),
    ]
    outcome = rate([book], lines)
    assert reasons(outcome) == ["no_rule"] * 3
    rows = {
        (row["quality"], row["time"] - T, row["end"] - T): row["watched_ms"]
        for row in outcome.suspense
    }
    # hd from 12:20 to 12:30 and from 12:40 to 13:00, then the next hour; uhd in between.
    minutes = MINUTE_MS
    assert rows == {
        ("hd", 20 * minutes, 60 * minutes): 30 * minutes,
        ("uhd", 30 * minutes, 40 * minutes): 10 * minutes,
        ("hd", 60 * minutes, 70 * minutes): 10 * minutes,
    }
    row = outcome.suspense[0]
    said = ("type", "account", "device", "session", "content", "kind", "plan", "book", "raw")
    assert [row[name] for name in said] == [
        "usage",
        "anna",
        "tv",
        "s1",
        "c1",
        "channel",
        "p",
        "b",
        None,
    ]


def test_the_currency_is_the_books(rate: RateLog) -> None:
    charge = only_charge(rate([a_book(currency="NPR")], watch(T, T + MINUTE_MS)))
    assert charge["currency"] == "NPR"
