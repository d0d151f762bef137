"""What happens to accounts beside viewing: opening, packages, top-ups, passes, event orders.

All of it follows from traits of the household, so it is computed for all households at once, one
day of the run after the other.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from ingest.simulator.catalogue import PAYG, PLUS, PREMIUM
from ingest.simulator.chance import read, share, spread, traits
from ingest.simulator.rows import (
    CANCEL,
    HD,
    INTACT,
    OPEN,
    ORDER_EVENT,
    ORDER_PASS,
    SENT,
    SUBSCRIBE,
    TOPUP,
    UHD,
    UNSUBSCRIBE,
)
from ingest.simulator.world import (
    HOUR_MS,
    MINUTE_MS,
    NEVER_MS,
    OPENING_MS,
    SECOND_MS,
    network_table,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from ingest.simulator.run import Run

# Purposes of traits; those of a series leave room for its members.
OPENED = 1
PLAN = 2
REGION = 3
BILL_DAY = 4
OPENS_AT = 5
SUBSCRIBES = 6
PACKAGE = 7
UNSUBSCRIBES = 8
UNSUBSCRIBES_AT = 9
PASS_ORDERED = 10
PASS_AT = 11
TOPUP_FIRST = 12
PLAN_CHANGED = 13
PLAN_CHANGED_AT = 14
EVENT_ORDERED = 1 << 20  # + day
EVENT_EARLY = 2 << 20
EVENT_LEAD = 3 << 20
EVENT_LEAD_TOO = 4 << 20
EVENT_QUALITY = 5 << 20
EVENT_CANCELLED = 6 << 20
EVENT_JOIN = 7 << 20
EVENT_JOIN_TOO = 8 << 20
TOPUP_LATER = 9 << 20  # + hour
TOPUP_AT = 10 << 20
TOPUP_AMOUNT = 11 << 20
DELAYED = 12 << 20  # + type << 16 + number
RETRIED = 13 << 20
RETRIED_AFTER = 14 << 20
DAMAGED = 15 << 20
DAMAGED_HOW = 16 << 20

OPENED_SHARE = share(0.97)
PLAN_EDGES = np.array([share(0.50), share(0.75)])  # family, total; the rest prepaid
REGION_EDGES = np.array([share(0.32), share(0.60), share(0.78), share(0.90)])
SUBSCRIBE_SHARE = share(0.15)
UNSUBSCRIBE_SHARE = share(0.05)  # of those that subscribed
PASS_SHARE = share(0.02)
PLAN_CHANGE_SHARE = share(0.01)  # of postpaid accounts: to the other postpaid plan
TOPUP_HOURLY_SHARE = share(0.15)
EARLY_ORDER_SHARE = share(0.2)  # of event orders: up to two hours ahead, not 15 minutes
CANCEL_IN_TIME_SHARE = share(0.015)  # of event orders
CANCEL_SHARE = share(0.03)  # the rest of these too late
UHD_ORDER_SHARE = share(0.3)
TOPUP_AMOUNTS = np.array([10, 25, 50])
EVENT_TOPUP_AMOUNT = 200
EVENT_TOPUPS_AT = 10_000  # their numbers follow those of the hourly ones


class Accounts:
    """All households' accounts.

    numbers: the households'. opened: whether the account is ever opened. plan: the plan's index,
    also for accounts that are never opened. Arrays hold one value a household.
    """

    def __init__(self, run: Run) -> None:
        self.run = run
        self.numbers = np.arange(1, run.households + 1)
        self.opened = self.trait(OPENED) < OPENED_SHARE
        self.plan = np.searchsorted(PLAN_EDGES, self.trait(PLAN), side="right")
        self.plan[~self.opened] = PAYG
        self.network_ms = network_table()

    def trait(self, purpose: int) -> NDArray[np.int64]:
        """Each household's draw for a purpose."""
        return traits(self.run.seed, self.numbers, purpose)

    def spread_ms(self, purpose: int, from_ms: int, to_ms: int) -> NDArray[np.int64]:
        """Each household's time in a range, for a purpose."""
        times_ms: NDArray[np.int64] = spread(self.trait(purpose), from_ms, to_ms)
        return times_ms

    def rows_of_day(self, day: int) -> NDArray[Any]:
        """What accounts send on a day of the run, counted from 0, in the order of arrival."""
        parts = [*self._openings()] if day == 0 else []
        parts += [*self._event(day), *self._topups(day)]
        rows = np.concatenate(parts)
        rows = self._arrived(rows[rows["time_ms"] < self.run.end_ms])
        return rows[np.argsort(rows["received_ms"], kind="stable")]

    def orders_event(self, day: int) -> NDArray[np.bool_]:
        """Whether the household orders the day's event."""
        return self.opened & (
            self.trait(EVENT_ORDERED + day) < share(self.run.operator.event_share)
        )

    def event_order_ms(self, day: int) -> NDArray[np.int64]:
        """When it orders: mostly in the last 15 minutes before the start, denser towards it."""
        early_ms = self.spread_ms(EVENT_LEAD + day, 15 * MINUTE_MS, 120 * MINUTE_MS)
        dense = (self.trait(EVENT_LEAD + day) * (self.trait(EVENT_LEAD_TOO + day) >> 1)) >> 31
        late_ms = spread(dense, 5 * SECOND_MS, 15 * MINUTE_MS)
        is_early = self.trait(EVENT_EARLY + day) < EARLY_ORDER_SHARE
        lead_ms: NDArray[np.int64] = np.where(is_early, early_ms, late_ms)
        return np.maximum(self.run.event_starts_ms(day) - lead_ms, self.run.start_ms - MINUTE_MS)

    def event_quality(self, day: int) -> NDArray[np.int64]:
        """The quality that it orders."""
        return np.where(self.trait(EVENT_QUALITY + day) < UHD_ORDER_SHARE, UHD, HD)

    def event_cancel_ms(self, day: int) -> NDArray[np.int64]:
        """When it cancels that order: in time, too late, or never."""
        starts_ms = self.run.event_starts_ms(day)
        in_time_ms = np.minimum(self.event_order_ms(day) + 40 * SECOND_MS, starts_ms - SECOND_MS)
        drawn = self.trait(EVENT_CANCELLED + day)
        too_late_ms = np.where(drawn < CANCEL_SHARE, starts_ms + 10 * MINUTE_MS, NEVER_MS)
        return np.where(drawn < CANCEL_IN_TIME_SHARE, in_time_ms, too_late_ms)

    def event_join_ms(self, day: int) -> NDArray[np.int64]:
        """When it tunes in: a crowd from 5 minutes before the start to 3 after it; or never."""
        starts_ms = self.run.event_starts_ms(day)
        drawn = (self.trait(EVENT_JOIN + day) + self.trait(EVENT_JOIN_TOO + day)) >> 1
        joined_ms = starts_ms + spread(drawn, -5 * MINUTE_MS, 3 * MINUTE_MS)
        joined_ms = np.maximum(joined_ms, self.event_order_ms(day) + 10 * SECOND_MS)
        joins = self.orders_event(day) & (self.event_cancel_ms(day) > starts_ms)
        return np.where(joins, joined_ms, NEVER_MS)

    def _rows(self, chosen: Any, type_: int, time_ms: Any, **columns: Any) -> NDArray[Any]:
        """One record of a type for each chosen household; columns as in SENT."""
        rows = np.zeros(int(chosen.sum()), dtype=SENT)
        columns = {"household": self.numbers, "type": type_, "time_ms": time_ms, **columns}
        for name, values in columns.items():
            rows[name] = np.broadcast_to(values, self.numbers.shape)[chosen]
        return rows

    def _openings(self) -> Iterator[NDArray[Any]]:
        """Openings, packages, passes, and first top-ups."""
        run, catalogue = self.run, self.run.catalogue
        opens_ms = run.start_ms - OPENING_MS
        opened_ms = self.spread_ms(OPENS_AT, opens_ms, run.start_ms - 2 * MINUTE_MS)
        place = np.searchsorted(REGION_EDGES, self.trait(REGION), side="right")
        terms = {
            "region": catalogue.regions_at + place,
            "amount": spread(self.trait(BILL_DAY), 1, 29),
        }
        plan = catalogue.plans_at + self.plan
        yield self._rows(self.opened, OPEN, opened_ms, subject=plan, **terms)
        changes = (self.plan != PAYG) & (self.trait(PLAN_CHANGED) < PLAN_CHANGE_SHARE)
        changed_ms = self.spread_ms(PLAN_CHANGED_AT, run.start_ms, run.end_ms)
        plan = catalogue.plans_at + 1 - self.plan
        yield self._rows(changes, OPEN, changed_ms, subject=plan, number=1, **terms)
        package = catalogue.packages_at + np.where(self.trait(PACKAGE) & 1, PLUS, PREMIUM)
        subscribes = self.opened & (self.trait(SUBSCRIBES) < SUBSCRIBE_SHARE)
        yield self._rows(subscribes, SUBSCRIBE, opened_ms + 5 * SECOND_MS, subject=package)
        leaves = subscribes & (self.trait(UNSUBSCRIBES) < UNSUBSCRIBE_SHARE)
        left_ms = self.spread_ms(UNSUBSCRIBES_AT, run.start_ms, run.end_ms)
        yield self._rows(leaves, UNSUBSCRIBE, left_ms, subject=package)
        passes = self.opened & (self.trait(PASS_ORDERED) < PASS_SHARE)
        ordered_ms = self.spread_ms(PASS_AT, run.start_ms, run.end_ms)
        offer = catalogue.pass_offer_at
        yield self._rows(passes, ORDER_PASS, ordered_ms, subject=offer, quality=HD, number=1)
        # Half of the accounts that are never opened have money all the same.
        drawn = self.trait(TOPUP_FIRST)
        funded = (self.plan == PAYG) & (self.opened | (drawn & 1 == 0))
        amount = TOPUP_AMOUNTS[drawn % 3]
        yield self._rows(funded, TOPUP, opened_ms + 30 * SECOND_MS, amount=amount)

    def _event(self, day: int) -> Iterator[NDArray[Any]]:
        """Orders of the day's event, prepaid accounts' top-ups for it, and cancellations."""
        ordered = self.orders_event(day)
        ordered_ms = self.event_order_ms(day)
        yield self._rows(
            ordered & (self.plan == PAYG),
            TOPUP,
            ordered_ms - 20 * SECOND_MS,
            amount=EVENT_TOPUP_AMOUNT,
            number=EVENT_TOPUPS_AT + day,
        )
        yield self._rows(
            ordered,
            ORDER_EVENT,
            ordered_ms,
            subject=self.run.catalogue.event_offers_at + day,
            quality=self.event_quality(day),
            number=day + 1,
        )
        cancelled_ms = self.event_cancel_ms(day)
        cancels = ordered & (cancelled_ms < NEVER_MS)
        yield self._rows(cancels, CANCEL, cancelled_ms, number=day + 1)

    def _topups(self, day: int) -> Iterator[NDArray[Any]]:
        """Prepaid accounts' top-ups of the day."""
        prepaid = self.plan == PAYG
        for hour in range(24 * day, min(24 * day + 24, math.ceil(self.run.hours))):
            from_ms = self.run.start_ms + hour * HOUR_MS
            yield self._rows(
                prepaid & (self.trait(TOPUP_LATER + hour) < TOPUP_HOURLY_SHARE),
                TOPUP,
                self.spread_ms(TOPUP_AT + hour, from_ms, from_ms + HOUR_MS),
                amount=TOPUP_AMOUNTS[self.trait(TOPUP_AMOUNT + hour) % 3],
                number=hour + 1,
            )

    def _arrived(self, rows: NDArray[Any]) -> NDArray[Any]:
        """The rows with their arrival and damage, and their retries."""
        which = (rows["type"].astype(np.int64) << 16) + rows["number"]

        def own(purpose: int) -> NDArray[np.int64]:
            return traits(self.run.seed, rows["household"], purpose + which)

        rows["received_ms"] = rows["time_ms"] + read(own(DELAYED), self.network_ms)
        again = rows[own(RETRIED) < share(self.run.faults.retries)]
        later_ms = spread(own(RETRIED_AFTER), SECOND_MS, 5 * SECOND_MS)
        again["received_ms"] += later_ms[own(RETRIED) < share(self.run.faults.retries)]
        spoilt = own(DAMAGED) < share(self.run.faults.malformed)
        rows["damage"] = np.where(spoilt, 1 + (own(DAMAGED_HOW) & 3), INTACT)
        rows["damage_at"] = own(DAMAGED_HOW) >> 16
        return np.concatenate([rows, again])
