"""Spec section 5: buying, what an order covers and until when, and giving it back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from scenes import (
    DAY_MS,
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
    micros,
    only_charge,
    opened,
    purchased,
    reasons,
    signal_types,
    topped_up,
    view,
    watch,
)

if TYPE_CHECKING:
    from conftest import RateLog
    from outcome import Outcome

    from tariffs.model import Offer

T = at("12:00")
PREPAID = a_plan(mode="prepaid")


def selling(*offers: Offer, **changes: Any) -> Any:
    return a_book(offers=offers or (an_offer(),), **changes)


def covered(outcome: Outcome) -> list[bool]:
    """Of each usage charge in order of time, whether an order covers it."""
    usage = [row for row in outcome.charges if row["type"] == "usage"]
    return [rule.startswith("offer:") for rule in column(usage, "rule")]


def minutes_from(*starts: int, **changes: Any) -> list[bytes]:
    """A minute of watching from each start, each in its own session, told as it ends."""
    content = changes.get("content", "c1")
    return [
        view(time, state, session=f"{content}-{start}", received=start + MINUTE_MS, **changes)
        for start in starts
        for time, state in ((start, "playing"), (start + MINUTE_MS, "stopped"))
    ]


# --- buying --------------------------------------------------------------------------------------


def test_a_purchase_is_one_charge_at_once(rate: RateLog) -> None:
    book = selling(tax=(("SE", 25 * PERCENT),))
    lines = [opened(T, region="SE"), purchased(T + 1, quality="hd", device="tv")]
    outcome = rate([book], lines, close=False)
    charge = only_charge(outcome)
    expected = {
        "type": "purchase",
        "account": "anna",
        "device": "tv",
        "session": "",
        "content": "",
        "kind": "est",
        "quality": "hd",
        "plan": "p",
        "book": "b",
        "rule": "offer:o",
        "start": T + 1,
        "end": T + 1,
        "slot": T,
        "watched_ms": 0,
        "billed_ms": 0,
        "free_ms": 0,
        "gross": 50_000_000,
        "discount": 0,
        "capped": 0,
        "net": 50_000_000,
        "tax": 12_500_000,
        "total": 62_500_000,
        "unfunded": 0,
        "currency": "SEK",
    }
    assert {name: charge[name] for name in expected} == expected
    assert signal_types(outcome) == ["order.accepted"]


def test_device_and_quality_are_optional(rate: RateLog) -> None:
    charge = only_charge(rate([selling()], [purchased(T)]))
    assert (charge["device"], charge["quality"]) == ("", "")


def test_the_price_is_of_the_quality(rate: RateLog) -> None:
    offer = an_offer(prices=(("hd", micros("99.00")), ("uhd", micros("129.00"))))
    lines = [
        purchased(T, id_="o1", quality="uhd"),
        purchased(T, id_="o2", quality="sd"),
        purchased(T, id_="o3"),
    ]
    outcome = rate([selling(offer)], lines)
    assert only_charge(outcome)["net"] == micros("129.00")
    assert reasons(outcome) == ["unknown_offer", "unknown_offer"]


def test_an_order_id_counts_once_for_each_account(rate: RateLog) -> None:
    offers = (an_offer(), an_offer(id="other"))
    lines = [purchased(T), purchased(T), purchased(T, "other"), purchased(T, account="bo")]
    outcome = rate([selling(*offers)], lines)
    assert column(outcome.charges, "account") == ["anna", "bo"]
    assert outcome.counts["duplicates"] == 2
    assert outcome.counts["applied"] == 2


def test_an_unknown_offer_or_plan_is_suspended_and_its_id_may_come_again(rate: RateLog) -> None:
    other = {"plans": (a_plan(id="q"),), "default_plan": "q"}
    books = [selling(), selling(id="b2", effective_from_ms=T + HOUR_MS, **other)]
    lines = [
        purchased(T, "no-such-offer"),
        opened(T, "p"),
        purchased(T + HOUR_MS),  # the plan p is not in the second book
        purchased(T),
    ]
    outcome = rate(books, lines)
    assert reasons(outcome) == ["unknown_offer", "unknown_plan"]
    assert only_charge(outcome)["start"] == T


@pytest.mark.parametrize(
    ("time", "on_sale"),
    [(T - 1, False), (T, True), (T + HOUR_MS - 1, True), (T + HOUR_MS, False)],
)
def test_outside_the_sale_it_is_declined(rate: RateLog, time: int, on_sale: bool) -> None:
    offer = an_offer(sale_from_ms=T, sale_until_ms=T + HOUR_MS)
    outcome = rate([selling(offer)], [purchased(time)])
    (signal,) = outcome.signals
    assert (signal["time"], signal["order"]) == (time, "o1")
    assert outcome.counts["applied"] == 1
    if on_sale:
        assert signal["type"] == "order.accepted"
    else:
        assert (signal["type"], signal["reason"]) == ("order.declined", "not_on_sale")
        assert outcome.charges == []


@pytest.mark.parametrize(("amount", "enough"), [("49.999999", False), ("50.00", True)])
def test_a_prepaid_balance_must_hold_the_total(rate: RateLog, amount: str, enough: bool) -> None:
    outcome = rate([a_book(PREPAID, offers=(an_offer(),))], [topped_up(T, amount), purchased(T)])
    assert outcome.balances == {"anna": 0 if enough else micros(amount)}
    if enough:  # and nothing is left
        assert signal_types(outcome) == ["order.accepted", "balance.exhausted"]
    else:
        assert outcome.signals[0]["reason"] == "insufficient_balance"
        assert outcome.charges == []


def test_the_total_counts_its_tax_and_the_room_its_credit_limit(rate: RateLog) -> None:
    plan = a_plan(mode="prepaid", credit_limit_micros=micros("2.50"))
    book = selling(plans=(plan,), tax=(("*", 25 * PERCENT),))
    lines = [
        topped_up(T, "59.999999"),
        purchased(T, id_="o1"),  # 62.50 is one micro-unit more than there is
        topped_up(T, "0.000001", "t2"),
        purchased(T, id_="o2"),
    ]
    outcome = rate([book], lines)
    assert [row["type"] for row in outcome.signals] == [
        "order.declined",
        "order.accepted",
        "balance.exhausted",
    ]
    assert outcome.balances == {"anna": micros("60.00") - micros("62.50")}


def test_a_postpaid_purchase_moves_no_balance(rate: RateLog) -> None:
    outcome = rate([selling()], [purchased(T)])
    assert outcome.balances == {"anna": 0}
    assert only_charge(outcome)["unfunded"] == 0


def test_not_on_sale_is_said_before_insufficient_balance(rate: RateLog) -> None:
    offer = an_offer(sale_until_ms=T)
    outcome = rate([a_book(PREPAID, offers=(offer,))], [purchased(T)])
    assert outcome.signals[0]["reason"] == "not_on_sale"


def test_a_retry_of_a_declined_order_is_a_duplicate_and_covers_nothing(rate: RateLog) -> None:
    book = a_book(PREPAID, offers=(an_offer(),))
    lines = [
        purchased(T),
        topped_up(T, "60.00"),
        purchased(T),
        cancelled(T),
        *minutes_from(T),
    ]
    outcome = rate([book], lines)
    assert outcome.counts["duplicates"] == 1
    assert reasons(outcome) == ["unknown_order"]
    assert covered(outcome) == [False]


# --- what is covered -----------------------------------------------------------------------------


def test_an_order_covers_from_its_time_and_from_its_place_in_the_log(rate: RateLog) -> None:
    lines = [
        view(T),
        view(T + 10 * MINUTE_MS),  # before the order in the log: charged
        purchased(T + 5 * MINUTE_MS, received=T + 10 * MINUTE_MS),
        view(T + 20 * MINUTE_MS, "stopped"),
        *watch(T + 4 * MINUTE_MS, T + 5 * MINUTE_MS, session="s2"),  # t0 before its time
        *watch(T + 5 * MINUTE_MS, T + 6 * MINUTE_MS, session="s3"),
    ]
    outcome = rate([selling()], lines)
    watched = {(r["session"], r["rule"]): r["watched_ms"] for r in outcome.charges if r["session"]}
    assert watched == {
        ("s1", "r"): 10 * MINUTE_MS,
        ("s1", "offer:o"): 10 * MINUTE_MS,
        ("s2", "r"): MINUTE_MS,
        ("s3", "offer:o"): MINUTE_MS,
    }


def test_est_covers_for_ever_and_only_its_contents_and_account(rate: RateLog) -> None:
    offer = an_offer(content=("c1", "c2"))
    lines = [
        purchased(T),
        *minutes_from(T, T + 400 * DAY_MS),
        *minutes_from(T + 401 * DAY_MS, content="c2"),
        *minutes_from(T + 402 * DAY_MS, content="c3"),
        *minutes_from(T + 403 * DAY_MS, account="zoe"),
    ]
    assert covered(rate([selling(offer)], lines)) == [True, True, True, False, False]


def test_ppv_covers_from_the_purchase_until_its_end(rate: RateLog) -> None:
    offer = an_offer("ppv", starts_ms=T + HOUR_MS, ends_ms=T + 2 * HOUR_MS)
    starts = (T, T + HOUR_MS, T + 2 * HOUR_MS - 1, T + 2 * HOUR_MS)
    outcome = rate([selling(offer)], [purchased(T), *minutes_from(*starts)])
    # The piece that starts a millisecond before the end is covered to its own end, the next
    # quarter of an hour, where the rest of its minute is not.
    assert covered(outcome) == [True, True, True, False, False]


def test_a_pass_covers_its_package_for_its_hours(rate: RateLog) -> None:
    offer = an_offer("pass", content=(), package="films", duration_ms=24 * HOUR_MS)
    book = selling(offer, packages=(("films", ("c1", "c2")),))
    end = T + 24 * HOUR_MS
    lines = [purchased(T), *minutes_from(T, end - MINUTE_MS, end), *minutes_from(T, content="c3")]
    outcome = rate([book], lines)
    usage = [row for row in outcome.charges if row["type"] == "usage"]
    assert {(row["start"] - T, row["content"]): row["rule"] for row in usage} == {
        (0, "c1"): "offer:o",
        (24 * HOUR_MS - MINUTE_MS, "c1"): "offer:o",
        (24 * HOUR_MS, "c1"): "r",
        (0, "c3"): "r",
    }


def test_what_a_pass_holds_is_read_in_the_book_in_force(rate: RateLog) -> None:
    offer = an_offer("pass", content=(), package="films", duration_ms=24 * HOUR_MS)
    books = [
        selling(offer, packages=(("films", ("c1",)),)),
        a_book(id="b2", effective_from_ms=T + HOUR_MS, packages=(("films", ("c2",)),)),
        a_book(id="b3", effective_from_ms=T + 2 * HOUR_MS),
    ]
    starts = (T, T + HOUR_MS, T + 2 * HOUR_MS)
    assert covered(rate(books, [purchased(T), *minutes_from(*starts)])) == [True, False, False]
    outcome = rate(books, [purchased(T), *minutes_from(*starts, content="c2")])
    assert covered(outcome) == [False, True, False]


def test_an_order_keeps_the_terms_of_its_own_book(rate: RateLog) -> None:
    before = an_offer("ppv", starts_ms=T, ends_ms=T + 2 * HOUR_MS)
    after = an_offer("ppv", content=("c2",), starts_ms=T, ends_ms=T + HOUR_MS)
    books = [selling(before), selling(after, id="b2", effective_from_ms=T + MINUTE_MS)]
    lines = [purchased(T), *minutes_from(T + HOUR_MS), *minutes_from(T + HOUR_MS, content="c2")]
    usage = [row for row in rate(books, lines).charges if row["type"] == "usage"]
    assert {row["content"]: row["rule"] for row in usage} == {"c1": "offer:o", "c2": "r"}
    assert {row["book"] for row in usage} == {"b2"}


def a_rental(**changes: Any) -> Offer:
    return an_offer("rental", **changes)


def test_a_rental_must_start_within_its_time(rate: RateLog) -> None:
    offer = a_rental(start_within_ms=10 * HOUR_MS)
    just = T + 10 * HOUR_MS
    assert covered(rate([selling(offer)], [purchased(T), *minutes_from(just)])) == [False]
    first = minutes_from(just - MINUTE_MS)
    assert covered(rate([selling(offer)], [purchased(T), *first])) == [True]


def test_a_rental_then_lasts_from_its_first_covered_piece(rate: RateLog) -> None:
    offer = a_rental(start_within_ms=10 * HOUR_MS, watch_within_ms=2 * HOUR_MS)
    first = T + 9 * HOUR_MS
    starts = (first, T + 10 * HOUR_MS + MINUTE_MS, first + 2 * HOUR_MS - MINUTE_MS)
    lines = [purchased(T), *minutes_from(*starts, first + 2 * HOUR_MS)]
    assert covered(rate([selling(offer)], lines)) == [True, True, True, False]


def test_a_rental_has_720_hours_to_start_and_48_to_watch(rate: RateLog) -> None:
    first = T + 720 * HOUR_MS - MINUTE_MS
    starts = (first, first + 48 * HOUR_MS - MINUTE_MS, first + 48 * HOUR_MS)
    lines = [purchased(T), *minutes_from(*starts)]
    assert covered(rate([selling(a_rental())], lines)) == [True, True, False]


def test_a_piece_that_is_not_covered_does_not_start_a_rental(rate: RateLog) -> None:
    offer = a_rental(start_within_ms=2 * HOUR_MS, watch_within_ms=HOUR_MS)
    book = selling(offer, packages=(("all", ("c1",)),))
    subscribe = b'{"type":"account.subscribe","time":%d,"account":"anna","package":"all"}' % T
    lines = [
        purchased(T),
        subscribe,
        *minutes_from(T),  # covered by the package
        subscribe.replace(b"subscribe", b"unsubscribe"),
        *watch(T + 90 * MINUTE_MS, T + 91 * MINUTE_MS, session="later"),
    ]
    outcome = rate([book], lines)
    assert column([r for r in outcome.charges if r["session"]], "rule") == [
        "package:all",
        "offer:o",
    ]


def test_orders_cover_in_the_order_of_purchase(rate: RateLog) -> None:
    """The rental came first, so it is the one that starts; the other takes over when it ends."""
    offers = (a_rental(watch_within_ms=HOUR_MS), an_offer(id="keep"))
    lines = [
        purchased(T, "o", "o1"),
        purchased(T - 1, "keep", "o2"),  # earlier by its time, later in the log
        *minutes_from(T, T + HOUR_MS),
    ]
    usage = [row for row in rate([selling(*offers)], lines).charges if row["session"]]
    assert column(usage, "rule") == ["offer:o", "offer:keep"]


def test_an_order_covers_every_quality(rate: RateLog) -> None:
    offer = an_offer(prices=(("hd", micros("50")), ("uhd", micros("90"))))
    lines = [purchased(T, quality="hd"), *minutes_from(T, quality="uhd")]
    assert covered(rate([selling(offer)], lines)) == [True]


# --- cancelling ----------------------------------------------------------------------------------


def test_a_refund_is_the_purchase_negated_at_the_time_of_the_cancellation(rate: RateLog) -> None:
    offer = a_rental(cancel="before_play")
    book = selling(offer, tax=(("SE", 25 * PERCENT),))
    later = T + 25 * HOUR_MS + 5
    lines = [
        opened(T, region="SE"),
        purchased(T, quality="hd", device="tv"),
        opened(T, region="NO"),
        cancelled(later),
    ]
    outcome = rate([book], lines)
    purchase, refund = sorted(outcome.charges, key=lambda row: row["start"])
    changed = {
        "type": "refund",
        "start": later,
        "end": later,
        "slot": T + 25 * HOUR_MS,
        "gross": -50_000_000,
        "net": -50_000_000,
        "tax": -12_500_000,
        "total": -62_500_000,
    }
    assert {name: refund[name] for name in changed} == changed
    same = ("account", "device", "kind", "quality", "plan", "book", "rule", "currency")
    assert {name: refund[name] for name in same} == {name: purchase[name] for name in same}
    assert refund["charge_id"] != purchase["charge_id"]
    assert signal_types(outcome) == ["order.accepted", "order.cancelled"]


def test_a_cancelled_order_covers_no_longer_and_cancelling_again_is_a_duplicate(
    rate: RateLog,
) -> None:
    offer = an_offer("ppv", starts_ms=T + HOUR_MS, ends_ms=T + DAY_MS, cancel="before_start")
    lines = [
        purchased(T),
        *minutes_from(T),
        cancelled(T + MINUTE_MS),
        cancelled(T + MINUTE_MS, id_="x2"),
        *watch(T + MINUTE_MS, T + 2 * MINUTE_MS, session="after"),
        purchased(T),  # its id is used up
    ]
    outcome = rate([selling(offer)], lines)
    assert covered(outcome) == [True, False]
    assert outcome.counts["duplicates"] == 2
    assert signal_types(outcome) == ["order.accepted", "order.cancelled"]


@pytest.mark.parametrize(("time", "allowed"), [(T + HOUR_MS - 1, True), (T + HOUR_MS, False)])
def test_before_start(rate: RateLog, time: int, allowed: bool) -> None:
    offer = an_offer("ppv", starts_ms=T + HOUR_MS, ends_ms=T + DAY_MS, cancel="before_start")
    # Having watched does not matter to it.
    lines = [purchased(T), *minutes_from(T), cancelled(time)]
    outcome = rate([selling(offer)], lines)
    last = "order.cancelled" if allowed else "order.cancel_rejected"
    assert signal_types(outcome) == ["order.accepted", last]
    assert outcome.signals[-1]["reason"] == ("" if allowed else "started")
    assert [row["type"] for row in outcome.charges].count("refund") == allowed


def test_before_play(rate: RateLog) -> None:
    offer = a_rental(cancel="before_play")
    other = minutes_from(T, content="c2")
    played = minutes_from(T + HOUR_MS)
    before = rate([selling(offer)], [purchased(T), *other, cancelled(T + HOUR_MS), *played])
    assert signal_types(before) == ["order.accepted", "order.cancelled"]
    after = rate([selling(offer)], [purchased(T), *played, cancelled(T)])
    assert signal_types(after) == ["order.accepted", "order.cancel_rejected"]
    assert [row["reason"] for row in after.signals] == ["", "played"]


def test_never_is_never(rate: RateLog) -> None:
    outcome = rate([selling()], [purchased(T), cancelled(T), cancelled(T)])
    rejected = "order.cancel_rejected"
    assert signal_types(outcome) == ["order.accepted", rejected, rejected]
    assert {row["order"] for row in outcome.signals} == {"o1"}
    assert [row["reason"] for row in outcome.signals] == ["", *["not_cancellable"] * 2]
    assert outcome.counts["applied"] == 3


def test_an_unknown_order_is_suspended(rate: RateLog) -> None:
    lines = [cancelled(T), purchased(T), cancelled(T, account="bo")]
    assert reasons(rate([selling()], lines)) == ["unknown_order", "unknown_order"]


def test_the_terms_of_cancelling_are_of_the_book_of_the_order(rate: RateLog) -> None:
    before = a_rental(cancel="before_play")
    books = [selling(before), selling(a_rental(), id="b2", effective_from_ms=T + HOUR_MS)]
    outcome = rate(books, [purchased(T), cancelled(T + DAY_MS)])
    assert signal_types(outcome) == ["order.accepted", "order.cancelled"]
    assert column(outcome.charges, "book") == ["b", "b"]


def test_a_refund_goes_back_to_the_balance_that_paid(rate: RateLog) -> None:
    """Paid by invoice and cancelled as prepaid: the invoice gets it back. And the reverse."""
    plans = (a_plan(), a_plan(a_rule(id_="rq"), id="q", mode="prepaid"))
    book = selling(a_rental(cancel="before_play"), plans=plans)
    invoice = [opened(T, "p"), purchased(T), opened(T, "q"), cancelled(T)]
    assert rate([book], invoice).balances == {"anna": 0}
    balance = [opened(T, "q"), topped_up(T, "60.00"), purchased(T), opened(T, "p"), cancelled(T)]
    assert rate([book], balance).balances == {"anna": micros("60.00")}


def test_orders_and_usage_share_one_balance(rate: RateLog) -> None:
    book = a_book(PREPAID, offers=(an_offer(),))
    lines = [
        topped_up(T, "51.00"),
        view(T, content="c2"),
        view(T + 10 * MINUTE_MS, content="c2"),  # 1.00
        purchased(T + 10 * MINUTE_MS),  # 50.00: nothing is left
        view(T + 10 * MINUTE_MS + SECOND_MS, "stopped", content="c2"),
    ]
    outcome = rate([book], lines)
    assert outcome.balances == {"anna": 0}
    usage = next(row for row in outcome.charges if row["type"] == "usage")
    assert usage["unfunded"] == usage["total"] - 1_000_000
    assert signal_types(outcome) == ["order.accepted", "balance.exhausted"]
