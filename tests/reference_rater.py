"""The slow, obvious rater: one usage record at a time, plain integers, straight from the spec.

It is the second reading of the spec that the program is compared with, so it shares nothing with
it but the book's model, and it prefers the spec's own words and order to any cleverness.
`READINGS.md` lists what it takes an unclear sentence to mean.
"""

from __future__ import annotations

import uuid
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from outcome import Outcome
from reference_reader import SuspendedError, read_usage

from tariffs.model import (
    PERCENT_MICROS_WHOLE,
    Band,
    Book,
    Offer,
    Plan,
    Price,
    Rule,
    region_parents,
    tax_percent_micros,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

MINUTE_MS = 60_000
QUARTER_MS = 15 * MINUTE_MS
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS
AHEAD_MAX_MS = 5 * MINUTE_MS
BEFORE_ALL = -(2**62)
LATE_MAX_MS = 35 * DAY_MS
BALANCE_MICROS_MAX = 2 * 10**18
COUNTER_MICROS_MAX = 4 * 10**17
COUNTER_MS_MAX = 10**18
NAMESPACE = uuid.UUID("6e1e2545-0000-5000-8000-000000000000")
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
OUTCOMES = ("applied", "suspended", "duplicates", "out_of_order", "orphan_stops")
TIMES = ("watched_ms", "billed_ms", "free_ms")
AMOUNTS = ("gross", "discount", "capped", "net", "tax", "total", "unfunded")

# --- sections 3 and 4: what a book says ----------------------------------------------------------


def half_up(a: int, b: int) -> int:
    return (2 * a + b) // (2 * b)


def price_micros(price: Price, x: int) -> int:
    """P(x), the table of section 4. x: milliseconds."""
    if x == 0:
        return 0
    if price.model == "flat":
        return price.amount_micros
    if price.model == "per_unit":
        return half_up(x * price.amount_micros, price.unit_ms)
    if price.model == "package":
        return -(-x // price.size_ms) * price.amount_micros
    lower, by_amount, flats = 0, 0, 0
    for tier in price.tiers:
        upper = x if tier.up_to_ms is None else tier.up_to_ms
        if price.model == "volume" and lower < x <= upper:
            return half_up(x * tier.amount_micros, price.unit_ms) + tier.flat_micros
        if price.model == "graduated" and x > lower:
            by_amount += (min(x, upper) - lower) * tier.amount_micros
            flats += tier.flat_micros
        lower = upper
    return half_up(by_amount, price.unit_ms) + flats


def billed_ms(rule: Rule, w: int) -> int:
    """The measure step of section 4."""
    if w == 0 or w < rule.free_below_ms:
        return 0
    return max(rule.minimum_ms, -(-w // rule.increment_ms) * rule.increment_ms)


def tax_micros(net: int, percent_micros: int, *, inclusive: bool) -> int:
    """The tax step of section 4."""
    whole = PERCENT_MICROS_WHOLE + percent_micros if inclusive else PERCENT_MICROS_WHOLE
    tax = half_up(abs(net) * percent_micros, whole)
    return tax if net >= 0 else -tax


def local_time(book: Book, t0: int) -> datetime:
    return (EPOCH + timedelta(milliseconds=t0)).astimezone(ZoneInfo(book.timezone))


def period(per: str, book: Book, bill_day: int, t0: int, content: str) -> tuple[Any, ...]:
    """The scope of a counter, section 4; that of a segment is the session's own table."""
    day = local_time(book, t0).date()
    if per == "day":
        return ("day", day)
    if per == "week":
        return ("week", *day.isocalendar()[:2])
    if per == "month":
        # To go bill_day - 1 days back ends in the month before exactly when day < bill_day.
        months = day.year * 12 + day.month - (1 if day.day < bill_day else 0)
        return ("month", months)
    return ("content", content)


def band_holds(band: Band, local: datetime) -> bool:
    """A band's part past midnight belongs to the day that it starts on. Section 3."""

    def starts_on(day: date) -> bool:
        listed = day.weekday() in band.days or day in band.dates
        return listed and day not in band.except_dates

    minute = local.hour * 60 + local.minute
    if starts_on(local.date()) and band.from_minute <= minute < band.to_minute:
        return True
    if minute + 1440 >= band.to_minute:
        return False
    return starts_on(local.date() - timedelta(days=1)) and band.from_minute <= minute + 1440


def rule_matches(rule: Rule, book: Book, session: Session, region: str, t0: int) -> bool:
    """Whether each condition that the rule has holds. Section 3."""
    regions = region_parents(region)
    packages, bands = dict(book.packages), {band.id: band for band in book.bands}
    local = local_time(book, t0)
    conditions = (
        (rule.kind, lambda kind: kind == session.kind),
        (rule.content, lambda content: content == session.content),
        (rule.package, lambda package: session.content in packages[package]),
        (rule.quality, lambda quality: quality == session.quality),
        (rule.region, lambda region: region in regions),
        (rule.band, lambda band: band_holds(bands[band], local)),
    )
    return all(wanted is None or any(map(holds, wanted)) for wanted, holds in conditions)


def names_rule(rules: tuple[str, ...] | None, rule: Rule) -> bool:
    return rules is None or rule.id in rules


# --- state ---------------------------------------------------------------------------------------


@dataclass
class Order:
    """A purchase that was accepted (with its charge) or declined (without). Section 5."""

    id: str
    offer: Offer
    time: int
    prepaid: bool
    charge: dict[str, Any] | None
    cancelled: bool = False
    first_play: int | None = None


@dataclass
class Account:
    """Who pays. plan None: no record yet but suspended ones. topped_up: for the law of balances."""

    id: str
    plan: str | None = None
    region: str = ""
    bill_day: int = 1
    packages: list[str] = field(default_factory=list)
    balance: int = 0
    exhausted: bool = False
    topped_up: int = 0
    purchased: int = 0  # from the balance, cancelled orders too
    out_of_bounds: bool = False  # one of its counters has come past its bound
    topup_ids: set[str] = field(default_factory=set)
    orders: dict[str, Order] = field(default_factory=dict)


@dataclass
class Line:
    """Pieces on their way to one charge, or one suspense row where it has a reason. Section 6."""

    book: Book | None  # None where none was in force, as on suspended lines alone
    plan: str
    rule: str
    kind: str
    quality: str
    tax_percent_micros: int
    start: int
    end: int
    suspended: SuspendedError | None = None
    sums: Counter[str] = field(default_factory=Counter)


@dataclass
class Session:
    """Section 2's state; counters and lines are those of its segment."""

    account: str
    device: str
    session: str
    start: int
    last: int = 0
    seen: int = 0
    content: str = ""
    kind: str = ""
    quality: str = ""
    playing: bool = False
    playhead_ms: int | None = None
    rate_milli: int = 1000
    counters: defaultdict[Any, int] = field(default_factory=lambda: defaultdict(int))
    paid: defaultdict[Any, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    lines: dict[Any, Line] = field(default_factory=dict)


class ReferenceRater:
    """Applies usage records in log order; what came of them stands in its public attributes."""

    def __init__(self, books: Sequence[Book]) -> None:
        self.books = sorted(books, key=lambda book: book.effective_from_ms)
        self.clock = BEFORE_ALL
        self.leapt = False  # whether the last record was itself more than 35 days past R
        self.accounts: dict[str, Account] = {}
        self.sessions: dict[tuple[str, str, str], Session] = {}
        self.closed: dict[tuple[str, str, str], Session] = {}  # the last of each key that closed
        self.counters: defaultdict[Any, int] = defaultdict(int)
        self.paid: defaultdict[Any, Counter[str]] = defaultdict(Counter)
        self.charges: list[dict[str, Any]] = []
        self.suspense: list[dict[str, Any]] = []
        self.signals: list[dict[str, Any]] = []
        self.counts: Counter[str] = Counter(
            dict.fromkeys(("records", *OUTCOMES, "watched_ms", "declined"), 0)
        )

    @property
    def balances(self) -> dict[str, int]:
        return {account.id: account.balance for account in self.accounts.values()}

    # --- section 1 -------------------------------------------------------------------------------

    def apply(self, line: bytes, source: str = "") -> None:
        """One usage record as it stands in the log; a blank line holds none."""
        if not line.strip(b" \t\r\n"):
            return
        usage: dict[str, Any] = {}
        try:
            usage = read_usage(line)
            outcome = self._effect(usage)
        except SuspendedError as suspended:
            outcome = "suspended"
            row = {name: usage.get(name) for name in ("account", "time", "type")}
            row |= {"reason": suspended.reason, "detail": str(suspended)}
            raw = line if suspended.raw is None else suspended.raw
            self.suspense.append(row | {"watched_ms": None, "source": source, "raw": raw})
        self.counts["records"] += 1
        self.counts[outcome] += 1

    def _effect(self, usage: dict[str, Any]) -> str:
        """What the record does at its place in the log; returns what it counts as."""
        time, type_ = usage["time"], usage["type"]
        self._move_clock(time, usage["received"])
        if time > self.clock + AHEAD_MAX_MS:
            raise SuspendedError("clock_ahead", "time is over 5 minutes ahead of the log clock")
        if time < self.clock - LATE_MAX_MS:
            raise SuspendedError("too_late", "time is over 35 days behind the log clock")
        book = self._book_at(time)
        if book is None and type_ != "view":
            raise SuspendedError("no_book", "no book is in force at its time")
        book = book or self.books[0]  # whose timeouts, and default plan, a view has until then
        account = self.accounts.get(usage["account"]) or Account(usage["account"])
        if account.plan is None and book.default_plan is None and type_ != "account.open":
            raise SuspendedError(
                "unknown_account", "never opened, and the book has no default plan"
            )
        effects = {
            "view": self._view,
            "account.open": self._open_account,
            "account.subscribe": self._subscribe,
            "account.unsubscribe": self._unsubscribe,
            "balance.topup": self._top_up,
            "order.purchase": self._purchase,
            "order.cancel": self._cancel,
        }
        outcome = effects[type_](usage, account, book)
        if account.plan is None:  # and keeps it
            account.plan = book.default_plan
        self.accounts[account.id] = account
        return outcome

    def _move_clock(self, time: int, received: int | None) -> None:
        stamp = time if received is None else received
        leaps = self.clock != BEFORE_ALL and stamp > self.clock + LATE_MAX_MS
        leapt, self.leapt = self.leapt, leaps
        if received is None and leaps and not leapt:
            raise SuspendedError("clock_leap", "time is over 35 days past the log clock")
        self.clock = max(self.clock, stamp)

    def _book_at(self, t: int) -> Book | None:
        """The last book in force at an instant. Section 2."""
        return next((book for book in reversed(self.books) if book.effective_from_ms <= t), None)

    def _open_account(self, usage: dict[str, Any], account: Account, book: Book) -> str:
        if find_plan(book, usage["plan"]) is None:
            raise SuspendedError("unknown_plan", f"book {book.id} has no plan {usage['plan']!r}")
        account.plan = usage["plan"]
        account.region = account.region if usage["region"] is None else usage["region"]
        account.bill_day = usage["bill_day"] or account.bill_day
        return "applied"

    def _subscribe(self, usage: dict[str, Any], account: Account, book: Book) -> str:
        package = usage["package"]
        if package not in dict(book.packages):
            raise SuspendedError("unknown_package", f"book {book.id} has no package {package!r}")
        if package not in account.packages:
            account.packages.append(package)
        return "applied"

    def _unsubscribe(self, usage: dict[str, Any], account: Account, _book: Book) -> str:
        if usage["package"] in account.packages:
            account.packages.remove(usage["package"])
        return "applied"

    def _top_up(self, usage: dict[str, Any], account: Account, book: Book) -> str:
        if usage["id"] in account.topup_ids:
            return "duplicates"
        if usage["currency"] not in (None, book.currency):
            raise SuspendedError("currency_mismatch", f"book {book.id} is in {book.currency}")
        if account.topped_up + usage["amount_micros"] > BALANCE_MICROS_MAX:
            raise SuspendedError("balance_out_of_bounds", "too much was topped up")
        account.topup_ids.add(usage["id"])
        account.topped_up += usage["amount_micros"]
        self._credit(account, book, usage["amount_micros"], usage["time"])
        return "applied"

    # --- section 2 -------------------------------------------------------------------------------

    def _view(self, usage: dict[str, Any], account: Account, book: Book) -> str:
        key = (account.id, usage["device"], usage["session"])
        t, content, stopped = usage["time"], usage["content"], usage["state"] == "stopped"
        if key in self.sessions and self.clock - self.sessions[key].seen > book.idle_ms:
            self._close(key)
        session = self.sessions.get(key)
        if session is None:
            closed = self.closed.get(key)
            known_ms = book.repeat_ms + AHEAD_MAX_MS
            if closed is not None and self.clock - closed.seen <= known_ms and t <= closed.last:
                return "duplicates"
            if stopped:
                return "orphan_stops"
            if t < self.clock - book.repeat_ms:
                raise SuspendedError("too_late", "it could be a repeat that is forgotten")
            self.sessions[key] = session = Session(*key, start=t, last=t)
            take_state(session, usage, self.clock)
            return "applied"
        if t < session.last or (stopped and content != session.content):
            session.seen = self.clock
            return "out_of_order"
        outcome = "duplicates" if t == session.last else "applied"
        if session.playing and 0 < t - session.last <= book.heartbeat_timeout_ms:
            for t0, t1 in self._pieces(session.last, session.last + watched_ms(session, usage)):
                self._piece(session, account, t0, t1, t)
        elif session.playing and t - session.last > book.heartbeat_timeout_ms:
            self._new_segment(session, t)
        if content != session.content:
            self._new_segment(session, t)
        take_state(session, usage, self.clock)
        if stopped:
            self._close(key)
        return outcome

    def _new_segment(self, session: Session, t: int) -> None:
        self._end_lines(session, slot_until=None)
        session.start = t
        session.counters.clear()
        session.paid.clear()

    def _close(self, key: tuple[str, str, str]) -> None:
        self.closed[key] = self.sessions.pop(key)
        self._end_lines(self.closed[key], slot_until=None)

    def close_idle(self) -> None:
        """Close the sessions that any next record would find idle; changes no charge."""
        idle_ms = max(book.idle_ms for book in self.books)
        for key in [key for key, s in self.sessions.items() if self.clock - s.seen > idle_ms]:
            self._close(key)

    def close(self) -> None:
        """End every session where its evidence ends. Section 6."""
        for key in list(self.sessions):
            self._close(key)

    def _pieces(self, start: int, end: int) -> Iterator[tuple[int, int]]:
        """[start, end) cut at every UTC quarter and wherever another book comes into force."""
        cuts = set(range(start // QUARTER_MS * QUARTER_MS, end, QUARTER_MS))
        cuts |= {book.effective_from_ms for book in self.books}
        edges = [start, *sorted(cut for cut in cuts if start < cut < end), end]
        return ((t0, t1) for t0, t1 in pairwise(edges) if t0 < t1)

    # --- section 4 -------------------------------------------------------------------------------

    def _piece(self, session: Session, account: Account, t0: int, t1: int, time: int) -> None:
        """Rate one piece. time: of the record that proved it, which a signal bears."""
        book, slot = self._book_at(t0), hour_of(t0)
        self._end_lines(session, slot_until=slot)
        self.counts["watched_ms"] += t1 - t0
        kind, quality, plan_id = session.kind, session.quality, account.plan or ""
        plan = None if book is None else find_plan(book, plan_id)
        name, rule, suspended = "", None, None
        try:
            name, rule = self._rule_of(session, account, book, plan, t0)
        except SuspendedError as error:
            suspended = error
        reason = "" if suspended is None else suspended.reason
        key = (quality, plan_id, book and book.id, name, reason, slot)
        if key not in session.lines:
            percent = 0 if book is None else tax_percent_micros(book, account.region)
            line = Line(book, plan_id, name, kind, quality, percent, t0, t1, suspended)
            session.lines[key] = line
        line = session.lines[key]
        line.end = t1
        line.sums["watched_ms"] += t1 - t0
        if rule is not None and plan is not None and book is not None:
            self._charge_piece(line, session, account, plan, rule, t0, t1)
            total = tax_line(line)
            if plan.mode == "prepaid":
                scope = self._price_scope(session, account, book, rule, t0)
                line.sums["unfunded"] += self._pay_piece(account, plan, total, scope, time)

    def _rule_of(
        self, session: Session, account: Account, book: Book | None, plan: Plan | None, t0: int
    ) -> tuple[str, Rule | None]:
        """The first of section 4's four cases that applies, as a line's rule."""
        if book is None:
            raise SuspendedError("no_book", "no book is in force at the piece's start")
        if plan is None:
            raise SuspendedError("unknown_plan", f"book {book.id} has no plan {account.plan!r}")
        packages = dict(book.packages)
        for package in (*plan.includes, *account.packages):
            if session.content in packages.get(package, ()):
                return f"package:{package}", None
        for order in account.orders.values():
            if order_covers(order, session.content, book, t0):
                order.first_play = t0 if order.first_play is None else order.first_play
                return f"offer:{order.offer.id}", None
        for rule in plan.rules:
            if rule_matches(rule, book, session, account.region, t0):
                if account.out_of_bounds:
                    raise SuspendedError("amount_out_of_bounds", "a counter is past its bound")
                return rule.id, rule
        raise SuspendedError("no_rule", f"no rule of plan {plan.id!r} prices {session.content!r}")

    def _charge_piece(
        self,
        line: Line,
        session: Session,
        account: Account,
        plan: Plan,
        rule: Rule,
        t0: int,
        t1: int,
    ) -> None:
        """The steps measure, allow, price, discount and cap of section 4's table."""
        assert line.book is not None
        book = line.book

        def counter_of(step: str, name: str, per: str) -> tuple[dict[Any, int], Any]:
            if per == "segment":
                return session.counters, (step, name)
            scope = period(per, book, account.bill_day, t0, session.content)
            return self.counters, (step, account.id, name, scope)

        def move(counter: tuple[dict[Any, int], Any], by: int) -> tuple[int, int]:
            table, key = counter
            table[key] += by
            return table[key] - by, table[key]

        per_watched = "content" if rule.per == "content" else "segment"
        w0, w1 = move(counter_of("measure", rule.id, per_watched), t1 - t0)
        billed = billed_ms(rule, w1) - billed_ms(rule, w0)
        x = billed
        for allowance in plan.allowances:
            if names_rule(allowance.rules, rule):
                table, key = counter_of("allow", allowance.id, allowance.per)
                free = min(x, max(0, allowance.quantity_ms - table[key]))
                table[key] += free
                x -= free
        x0, x1 = move(counter_of("price", rule.counter or rule.id, rule.per), x)
        gross = price_micros(rule.price, x1) - price_micros(rule.price, x0)
        moved = [price_micros(rule.price, x1)]
        rest = gross
        for discount in plan.discounts:
            if names_rule(discount.rules, rule) and discount.from_ms <= t0 < discount.until_ms:
                c0, c1 = move(counter_of("discount", discount.id, "month"), rest)
                moved.append(c1)
                percent = discount.percent_micros
                rest -= half_up(c1 * percent, PERCENT_MICROS_WHOLE)
                rest += half_up(c0 * percent, PERCENT_MICROS_WHOLE)
        net = rest
        for cap in plan.caps:
            if names_rule(cap.rules, rule):
                c0, c1 = move(counter_of("cap", cap.id, cap.per), net)
                moved.append(c1)
                net = min(cap.amount_micros, c1) - min(cap.amount_micros, c0)
        if x1 > COUNTER_MS_MAX or max(map(abs, moved)) > COUNTER_MICROS_MAX:
            account.out_of_bounds = True
        line.sums.update(billed_ms=billed, free_ms=billed - x)
        line.sums.update(gross=gross, discount=gross - rest, capped=rest - net, net=net)

    def _price_scope(
        self, session: Session, account: Account, book: Book, rule: Rule, t0: int
    ) -> Counter[str]:
        """T and S of section 4: what the prepaid pieces of one price's counter came to and paid."""
        counter: tuple[Any, ...] = (account.id, rule.counter or rule.id)
        if rule.per == "segment":
            return session.paid[counter]
        scope = period(rule.per, book, account.bill_day, t0, session.content)
        return self.paid[(*counter, scope)]

    def _pay_piece(
        self, account: Account, plan: Plan, total: int, scope: Counter[str], time: int
    ) -> int:
        """Settle a piece's total with a prepaid balance; returns what is unfunded of it."""
        scope["T"] += total
        if total > 0:
            unfunded = self._debit(account, plan, total, time)
        else:
            paid = min(0, scope["T"] - scope["S"])
            account.balance -= paid
            unfunded = total - paid
        scope["S"] += total - unfunded
        return unfunded

    def _debit(self, account: Account, plan: Plan, total: int, time: int) -> int:
        """Take a total from a prepaid balance; returns what is unfunded of it."""
        room = account.balance + plan.credit_limit_micros
        paid = min(total, max(0, room))
        account.balance -= paid
        if (paid < total or room - paid <= 0) and not account.exhausted:
            account.exhausted = True
            self._signal("balance.exhausted", account, time)
        return total - paid

    def _credit(self, account: Account, book: Book, amount: int, time: int) -> None:
        """A top-up or refund, which may make balance + credit_limit positive again."""
        account.balance += amount
        plan = find_plan(book, account.plan or book.default_plan or "")
        credit_limit = 0 if plan is None else plan.credit_limit_micros
        if account.exhausted and account.balance + credit_limit > 0:
            account.exhausted = False
            self._signal("balance.restored", account, time)

    # --- section 5 -------------------------------------------------------------------------------

    def _purchase(self, usage: dict[str, Any], account: Account, book: Book) -> str:
        order_id, time = usage["id"], usage["time"]
        if order_id in account.orders:
            return "duplicates"
        plan_id = account.plan or book.default_plan or ""
        plan = find_plan(book, plan_id)
        if plan is None:
            raise SuspendedError("unknown_plan", f"book {book.id} has no plan {plan_id!r}")
        offer = next((offer for offer in book.offers if offer.id == usage["offer"]), None)
        net = None if offer is None else offer.price_micros(usage["quality"])
        if offer is None or net is None:
            raise SuspendedError("unknown_offer", f"book {book.id} has no {usage['offer']!r} so")
        prepaid = plan.mode == "prepaid"
        percent, name = tax_percent_micros(book, account.region), f"offer:{offer.id}"
        line = Line(book, plan_id, name, offer.kind, usage["quality"], percent, time, time)
        line.sums.update(gross=net, net=net)
        total = tax_line(line)
        if prepaid and account.purchased + total > BALANCE_MICROS_MAX:
            raise SuspendedError("balance_out_of_bounds", "too much was ordered")
        order = account.orders[order_id] = Order(order_id, offer, time, prepaid, charge=None)
        if not offer.sale_from_ms <= time < offer.sale_until_ms:
            return self._decline(account, order, "not_on_sale")
        if prepaid and total > account.balance + plan.credit_limit_micros:
            return self._decline(account, order, "insufficient_balance")
        who = {"account": account.id, "device": usage["device"], "session": "", "content": ""}
        order.charge = charge_of(("purchase", account.id, order_id), line, who)
        self.charges.append(order.charge)
        self._signal("order.accepted", account, time, order_id)
        if prepaid:
            account.purchased += total
        if prepaid and total > 0:
            self._debit(account, plan, total, time)
        return "applied"

    def _decline(self, account: Account, order: Order, reason: str) -> str:
        self.counts["declined"] += 1
        self._signal("order.declined", account, order.time, order.id, reason)
        return "applied"

    def _cancel(self, usage: dict[str, Any], account: Account, book: Book) -> str:
        order, time = account.orders.get(usage["order"]), usage["time"]
        if order is None or order.charge is None:
            raise SuspendedError("unknown_order", f"no order {usage['order']!r} was accepted")
        if order.cancelled:
            return "duplicates"
        term, starts = order.offer.cancel, order.offer.starts_ms
        before_start = term == "before_start" and starts is not None and time < starts
        before_play = term == "before_play" and order.first_play is None
        if not before_start and not before_play:
            why = {"before_start": "started", "before_play": "played", "never": "not_cancellable"}
            self._signal("order.cancel_rejected", account, time, order.id, why[term])
            return "applied"
        order.cancelled = True
        refund = order.charge | {amount: -order.charge[amount] for amount in AMOUNTS}
        name = ("refund", account.id, order.id)
        refund |= {"charge_id": charge_id(name), "type": "refund"}
        refund |= {"start": time, "end": time, "slot": hour_of(time)}
        self.charges.append(refund)
        self._signal("order.cancelled", account, time, order.id)
        if order.prepaid:
            self._credit(account, book, order.charge["total"], time)
        return "applied"

    # --- sections 6 and 7 ------------------------------------------------------------------------

    def _end_lines(self, session: Session, slot_until: int | None) -> None:
        """End the lines of hours before `slot_until`, or all; each is a charge or a suspense row."""
        for key, line in list(session.lines.items()):
            if slot_until is not None and hour_of(line.start) >= slot_until:
                continue
            del session.lines[key]
            who = {name: getattr(session, name) for name in ("account", "device", "session")}
            who["content"] = session.content
            if line.suspended is None:
                assert line.book is not None
                name = ("usage", *who.values(), line.quality, str(session.start), line.plan)
                name = (*name, line.book.id, line.rule, str(hour_of(line.start)))
                self.charges.append(charge_of(name, line, who))
                continue
            row = who | {"kind": line.kind, "quality": line.quality, "plan": line.plan}
            row |= {"book": "" if line.book is None else line.book.id, "type": "usage"}
            row |= {"time": line.start, "end": line.end}
            row |= {"reason": line.suspended.reason, "detail": str(line.suspended)}
            row |= {"watched_ms": line.sums["watched_ms"], "source": None, "raw": None}
            self.suspense.append(row)

    def _signal(
        self, type_: str, account: Account, time: int, order: str = "", reason: str = ""
    ) -> None:
        row = {"type": type_, "account": account.id, "time": time, "order": order}
        self.signals.append(row | {"reason": reason})


def find_plan(book: Book, plan_id: str) -> Plan | None:
    return next((plan for plan in book.plans if plan.id == plan_id), None)


def take_state(session: Session, usage: dict[str, Any], clock: int) -> None:
    """Step 6 of section 2, and the playhead and rate that step 4 reads next time."""
    for name in ("content", "kind", "quality", "playhead_ms", "rate_milli"):
        setattr(session, name, usage[name])
    session.playing = usage["state"] == "playing"
    session.last, session.seen = usage["time"], clock


def watched_ms(session: Session, usage: dict[str, Any]) -> int:
    """How much of the interval up to this record was watched, by the playheads. Section 2, 4."""
    elapsed: int = usage["time"] - session.last
    before, now = session.playhead_ms, usage["playhead_ms"]
    if before is None or now is None or usage["content"] != session.content:
        return elapsed
    if session.rate_milli <= 0:
        return 0
    advance: int = max(0, now - before)
    return min(elapsed, advance * 1000 // session.rate_milli)


def order_covers(order: Order, content: str, book: Book, t0: int) -> bool:
    """Whether an order covers a piece of a content at t0. book: in force at t0. Section 5."""
    offer = order.offer
    contents = (
        offer.content if offer.package is None else dict(book.packages).get(offer.package, ())
    )
    if order.charge is None or order.cancelled or content not in contents or t0 < order.time:
        return False
    if offer.kind == "ppv":
        return offer.ends_ms is None or t0 < offer.ends_ms
    if offer.kind == "pass":
        return t0 < order.time + offer.duration_ms
    if offer.kind == "rental" and order.first_play is None:
        return t0 < order.time + offer.start_within_ms
    if offer.kind == "rental" and order.first_play is not None:
        return t0 < order.first_play + offer.watch_within_ms
    return True


def tax_line(line: Line) -> int:
    """Tax what the line's net has become; returns by how much its total moved. Section 4."""
    assert line.book is not None
    inclusive, before = line.book.prices_include_tax, line.sums["total"]
    net = line.sums["net"]
    line.sums["tax"] = tax_micros(net, line.tax_percent_micros, inclusive=inclusive)
    line.sums["total"] = net if inclusive else net + line.sums["tax"]
    return line.sums["total"] - before


def hour_of(time: int) -> int:
    return time // HOUR_MS * HOUR_MS


def charge_id(name: tuple[str, ...]) -> str:
    """The id of a charge by the parts of its name, each of which is escaped. Section 6."""
    escapes = str.maketrans({"\\": "\\\\", "|": "\\|"})
    return str(uuid.uuid5(NAMESPACE, "|".join(part.translate(escapes) for part in name)))


def charge_of(name: tuple[str, ...], line: Line, who: dict[str, str]) -> dict[str, Any]:
    """The columns of section 6."""
    assert line.book is not None
    charge: dict[str, Any] = {"charge_id": charge_id(name), "type": name[0]} | who
    charge |= {"kind": line.kind, "quality": line.quality, "plan": line.plan}
    charge |= {"book": line.book.id, "rule": line.rule, "currency": line.book.currency}
    charge |= {"start": line.start, "end": line.end, "slot": hour_of(line.start)}
    return charge | {column: line.sums[column] for column in TIMES + AMOUNTS}


# --- section 8 -----------------------------------------------------------------------------------


def check_laws(rater: ReferenceRater) -> None:
    """Raise AssertionError where a law of section 8 does not hold for one run."""
    counts = rater.counts
    assert counts["records"] == sum(counts[outcome] for outcome in OUTCOMES), dict(counts)
    rows = [*rater.charges, *(row for row in rater.suspense if row["type"] == "usage")]
    open_lines = [line for session in rater.sessions.values() for line in session.lines.values()]
    watched = sum(row["watched_ms"] for row in rows)
    watched += sum(line.sums["watched_ms"] for line in open_lines)
    assert counts["watched_ms"] == watched, (counts["watched_ms"], watched)
    plans = {(book.id, plan.id): plan for book in rater.books for plan in book.plans}
    balances = {account.id: account.topped_up for account in rater.accounts.values()}
    for charge in rater.charges:
        assert charge["gross"] - charge["discount"] - charge["capped"] == charge["net"], charge
        if plans[charge["book"], charge["plan"]].mode == "prepaid":
            balances[charge["account"]] -= charge["total"] - charge["unfunded"]
    for session in rater.sessions.values():
        for line in session.lines.values():
            plan = None if line.book is None else plans.get((line.book.id, line.plan))
            if plan is not None and plan.mode == "prepaid":
                balances[session.account] -= line.sums["total"] - line.sums["unfunded"]
    assert balances == rater.balances, (balances, rater.balances)


def rate_log(
    books: Sequence[Book], lines: Iterable[bytes], *, batch: int | None = None, close: bool = True
) -> Outcome:
    """Rate a whole log, closing idle sessions after each `batch` lines, and check the laws."""
    rater = ReferenceRater(books)
    for number, line in enumerate(lines, 1):
        rater.apply(line, f"log:{number}")
        if batch is not None and number % batch == 0:
            rater.close_idle()
            check_laws(rater)
    rater.close_idle()
    if close:
        rater.close()
    check_laws(rater)
    return Outcome(rater.charges, rater.suspense, rater.signals, rater.balances, dict(rater.counts))
