"""Small random worlds: tariff books and a log that meet every rule of the spec, and its edges.

A world is made from its seed alone, so a failure is replayed by its number. Its pools of accounts,
contents and ids are small and its times are drawn near the edges of quarters, hours, days, months
and timeouts, so that a few dozen records already collide in most of the ways they can.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta, timezone
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

from book_writer import write_book
from world_boundaries import with_boundaries

from tariffs.model import (
    EVER_MS,
    NEVER_MS,
    Allowance,
    Band,
    Book,
    Cap,
    Discount,
    Offer,
    Plan,
    Price,
    Rule,
    Tier,
    region_parents,
)

SECOND_MS, MINUTE_MS, HOUR_MS = 1_000, 60_000, 3_600_000
DAY_MS = 24 * HOUR_MS
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

ACCOUNTS = ("anna", "anna|o1", "Åsa-😀", "x" * 128)
DEVICES = ("tv", "tv\\", "fjärr|kontroll")
SESSIONS = ("s1", "\\|s1")
CONTENTS = ("ch-1", "ch-2", "film-1", "film-2", "evt-1", "kanał 3")
KINDS = ("channel", "vod", "ppv", "catchup", "hörbuch")
QUALITIES = ("", "sd", "hd", "uhd")
PACKAGES = ("basic", "extra", "films")
REGIONS = ("", "SE", "SE-AB", "SE-AB-01", "NO", "DE")
PLANS = ("post", "pre", "pre-limit")
OFFERS = ("match", "rental", "keep", "day-pass", "sometimes")
BAND_IDS = ("evening", "night", "holiday")
STATES = ("playing", "starting", "paused", "stalled", "seeking", "stopped")
AMOUNTS = (0, 1, 37, 999_999, 1_000_000, 6_000_000, 12_345_678, 99_000_000)
UNITS_MS = (SECOND_MS, MINUTE_MS, HOUR_MS)
PERCENTS = (0, 1, 6_000_000, 25_000_000, 25_500_000, 33_333_333, 100_000_000)

CHANGES_OF_CLOCK = {
    "Europe/Stockholm": ("2026-03-29T01:00", "2026-10-25T01:00"),
    "America/New_York": ("2026-03-08T07:00", "2026-11-01T06:00"),
    "Asia/Kolkata": (),
    "Australia/Lord_Howe": ("2026-04-04T15:00", "2026-10-03T15:30"),
    "Asia/Kathmandu": (),
    "UTC": (),
}
"""UTC instants at which the clocks of a book's time zone change."""
LOCAL_EDGES = (
    "2026-03-01T00:00",  # a month begins
    "2026-03-02T00:00",  # a week begins
    "2026-05-15T00:00",  # a bill day
    "2026-12-25T00:00",  # the holiday of a band
    "2027-01-01T00:00",  # a year begins inside ISO week 53
    "2027-01-04T00:00",  # ISO week 1
    "2028-02-29T00:00",
    "2026-06-10T18:00",  # an evening begins
)


@dataclass(frozen=True)
class World:
    """Books ascending, the same as TOML, and a log.

    edge: the instant that its times are drawn around. received_ascends: as a gateway's does.
    """

    seed: int
    edge: int
    received_ascends: bool
    books: tuple[Book, ...]
    texts: tuple[str, ...]
    lines: tuple[bytes, ...]


def random_world(seed: int) -> World:
    """The world of a seed."""
    random = Random(seed)
    timezone_name = random.choice(tuple(CHANGES_OF_CLOCK))
    edge = random_edge(random, timezone_name)
    books = random_books(random, timezone_name, edge)
    texts = tuple(write_book(book, random) for book in books)
    log = _Log(random, books, edge)
    lines = with_boundaries(Random(f"boundaries of {seed}"), log.lines())
    return World(seed, edge, log.way == "gateway", books, texts, lines)


def random_edge(random: Random, timezone_name: str) -> int:
    changes = CHANGES_OF_CLOCK[timezone_name]
    if changes and random.random() < 0.5:
        instant = datetime.fromisoformat(random.choice(changes)).replace(tzinfo=UTC)
    else:
        local = datetime.fromisoformat(random.choice(LOCAL_EDGES))
        instant = local.replace(tzinfo=ZoneInfo(timezone_name)).astimezone(UTC)
    return (instant - EPOCH) // timedelta(milliseconds=1)


def some(random: Random, pool: tuple[Any, ...], least: int = 1) -> tuple[Any, ...]:
    """A few of a pool, in any order."""
    return tuple(random.sample(pool, random.randint(least, len(pool))))


def maybe(random: Random, chance: float, value: Any) -> Any:
    """The value by chance, else None."""
    return value if random.random() < chance else None


# --- books ---------------------------------------------------------------------------------------


def random_books(random: Random, timezone_name: str, edge: int) -> tuple[Book, ...]:
    """One to three versions; the later ones come into force near the edge."""
    offsets = (0, 1, 7 * MINUTE_MS + 250, HOUR_MS, 2 * HOUR_MS, DAY_MS, 20 * DAY_MS)
    starts = sorted(edge + offset for offset in random.sample(offsets, random.randint(0, 2)))
    ago = (90 * MINUTE_MS, 7 * MINUTE_MS, 1, 400 * DAY_MS)
    first = random.choice((EVER_MS, EVER_MS, *(edge - each for each in ago)))
    return tuple(
        random_book(random, f"book-{number}", timezone_name, start, edge)
        for number, start in enumerate((first, *starts), 1)
    )


def random_book(random: Random, id_: str, timezone_name: str, start: int, edge: int) -> Book:
    packages = tuple(
        (package, some(random, CONTENTS[:5], least=0))
        for package in PACKAGES
        if random.random() < 0.85
    )
    bands = tuple(random_band(random, band) for band in BAND_IDS if random.random() < 0.7)
    book = Book(
        id=id_,
        currency="SEK",
        timezone=timezone_name,
        effective_from_ms=start,
        prices_include_tax=random.random() < 0.5,
        heartbeat_timeout_ms=random.choice((90, 90, 600, 2_700, 7_200)) * SECOND_MS,
        idle_ms=random.choice((60, 300, 300, 3_600, 10_800)) * SECOND_MS,
        repeat_ms=random.choice((1, 90, 600, 7_200, *[604_800] * 4, 4_000_000)) * SECOND_MS,
        tax=tuple(
            (region, random.choice(PERCENTS))
            for region in ("SE", "SE-AB", "*", "NO")
            if random.random() < 0.6
        ),
        bands=bands,
        packages=packages,
    )
    plans = tuple(
        random_plan(random, plan, book, edge) for plan in PLANS if random.random() < 0.85
    ) or (random_plan(random, "post", book, edge),)
    default = maybe(random, 0.85, random.choice(plans).id)
    offers = tuple(
        random_offer(random, offer, book, edge) for offer in OFFERS if random.random() < 0.93
    )
    return replace(book, plans=plans, default_plan=default, offers=offers)


def random_band(random: Random, id_: str) -> Band:
    edges = {"evening": (1080, 1380), "night": (1320, 1560), "holiday": (0, 1440)}
    from_minute, to_minute = edges[id_]
    if random.random() < 0.4:
        from_minute = random.choice((0, 15, 90, 120, 720, 1425))
        to_minute = from_minute + random.choice((15, 60, 180, 1440))
        to_minute += -1440 if to_minute - 1440 > from_minute else 0
    dates = [date(2026, 12, 25), date(2026, 3, 1), date(2026, 3, 29), date(2027, 1, 1)]
    random.shuffle(dates)
    listed = frozenset(dates[: random.randint(0, 2)])
    days = frozenset(some(random, tuple(range(7)), least=0 if listed else 1))
    if random.random() < 0.5:
        days = frozenset(range(7))
    excepted = frozenset(dates[2 : 2 + random.randint(0, 1)])
    return Band(id_, days, listed, excepted, from_minute, to_minute)


def random_plan(random: Random, id_: str, book: Book, edge: int) -> Plan:
    packages = tuple(name for name, _ in book.packages)
    # Mostly each plan has rules of its own; now and then two plans have some of one id.
    prefix = "r" if random.random() < 0.2 else id_
    includes = some(random, packages, least=0) if random.random() < 0.4 else ()
    rules = random_rules(random, prefix, book, includes)
    names = tuple(rule.id for rule in rules)

    def named() -> Any:
        return maybe(random, 0.5, some(random, names))

    def period() -> Any:
        return random.choice(("day", "week", "month"))

    hours = (0, MINUTE_MS, 17 * MINUTE_MS, HOUR_MS // 2, 3 * HOUR_MS)
    allowances = (
        Allowance(f"{id_}-allowance-{number}", random.choice(hours), period(), named())
        for number in range(random.choice((0, 1, 2)))
    )
    windows = ((EVER_MS, NEVER_MS), (edge, NEVER_MS), (EVER_MS, edge + HOUR_MS), (edge, edge + 1))
    discounts = (
        Discount(f"{id_}-discount-{number}", random.choice(PERCENTS), named(), *window)
        for number, window in enumerate(random.choices(windows, k=random.choice((0, 1, 3))))
    )
    caps = (
        Cap(f"{id_}-cap-{number}", random.choice((0, 500_000, 7_654_321)), period(), named())
        for number in range(random.choice((0, 0, 1, 2)))
    )
    return Plan(
        id=id_,
        mode="postpaid" if id_ == "post" else "prepaid",
        credit_limit_micros=random.choice((1, 2_500_000)) if id_ == "pre-limit" else 0,
        includes=includes,
        rules=rules,
        allowances=tuple(allowances),
        discounts=tuple(discounts),
        caps=tuple(caps),
    )


def random_rules(
    random: Random, prefix: str, book: Book, includes: tuple[str, ...]
) -> tuple[Rule, ...]:
    """Two to six rules, each of which some piece reaches."""
    rules: list[Rule] = []
    for number in range(random.randint(2, 6)):
        rule = random_rule(random, f"{prefix}-{number}", book)
        if reachable(random, rule, rules, book, includes):
            rules.append(rule)
    anything = Rule(f"{prefix}-any", random_price(random), counter=f"{prefix}-any")
    wanted = random.random() < 0.7 and reachable(random, anything, rules, book, includes)
    if wanted or not rules:
        rules.append(anything)
    return tuple(rules)


def random_rule(random: Random, id_: str, book: Book) -> Rule:
    packages = tuple(name for name, held in book.packages if held)
    bands = tuple(band.id for band in book.bands)
    conditions: dict[str, Any] = {
        "kind": maybe(random, 0.3, some(random, KINDS[:4])),
        "content": maybe(random, 0.2, some(random, CONTENTS)),
        "package": maybe(random, 0.2, some(random, packages)) if packages else None,
        "quality": maybe(random, 0.25, some(random, QUALITIES[1:])),
        "region": maybe(random, 0.2, some(random, ("SE", "SE-AB", "NO"))),
        "band": maybe(random, 0.3, some(random, bands)) if bands else None,
    }
    if all(names is None for names in conditions.values()):
        conditions["kind"] = some(random, KINDS[:4])
    return Rule(
        id=id_,
        price=random_price(random),
        per=random.choice(("segment", "segment", "day", "week", "month", "content")),
        counter=random.choice((id_, id_, "shared", id_.rpartition("-")[0] + "-any")),
        increment_ms=random.choice((1, 1, 250, SECOND_MS, MINUTE_MS, 7 * MINUTE_MS)),
        minimum_ms=random.choice((0, 0, 2 * MINUTE_MS, 90_500)),
        free_below_ms=random.choice((0, 0, 10 * SECOND_MS, 5 * MINUTE_MS)),
        **conditions,
    )


def reachable(
    random: Random, rule: Rule, earlier: list[Rule], book: Book, includes: tuple[str, ...]
) -> bool:
    """Whether a piece was found that the rule matches, and neither a package nor one before it."""
    packages = dict(book.packages)
    free = tuple(name for name in CONTENTS if not any(name in packages[p] for p in includes))
    if not free:
        return False

    def matches(rule: Rule, piece: dict[str, str]) -> bool:
        held = [name for name, contents in book.packages if piece["content"] in contents]
        has = {name: [value] for name, value in piece.items()}
        has |= {"package": held, "region": region_parents(piece["region"])}
        wanted = {name: getattr(rule, name) for name in has}
        return all(
            values is None or any(value in values for value in has[name])
            for name, values in wanted.items()
        )

    for _ in range(40):
        piece = {
            "kind": random.choice(rule.kind or KINDS),
            "content": random.choice(rule.content or free),
            "quality": random.choice(rule.quality or QUALITIES),
            "region": random.choice(rule.region or REGIONS),
            "band": random.choice(rule.band or ("", *BAND_IDS)),
        }
        taken = piece["content"] not in free or any(matches(other, piece) for other in earlier)
        if matches(rule, piece) and not taken:
            return True
    return False


def random_price(random: Random) -> Price:
    model = random.choice(("per_unit", "graduated", "volume", "package", "flat"))
    amount, unit_ms = random.choice(AMOUNTS), random.choice(UNITS_MS)
    if model == "per_unit":
        return Price("per_unit", amount, unit_ms)
    if model == "flat":
        return Price("flat", amount)
    if model == "package":
        return Price("package", amount, HOUR_MS, random.choice((36_000, 900_000, 2_700_000)))
    bounds = sorted(random.sample((36_000, 180_000, 900_000, HOUR_MS, 9_000_000), 2))
    ends = (*bounds[: random.randint(0, 2)], None)
    amounts = random.choices(AMOUNTS, k=len(ends))
    if random.random() < 0.6:  # The more, the cheaper: only so can a volume price give back.
        amounts.sort(reverse=True)
    tiers = tuple(
        Tier(end, amount, random.choice((0, 0, 250_000)))
        for end, amount in zip(ends, amounts, strict=True)
    )
    return Price("graduated" if model == "graduated" else "volume", 0, unit_ms, tiers=tiers)


def random_offer(random: Random, id_: str, book: Book, edge: int) -> Offer:
    """An offer of the kind that goes with its id."""
    packages = [name for name, _ in book.packages]
    kinds = {"match": "ppv", "rental": "rental", "day-pass": "pass"}
    kind: Any = kinds.get(id_, "est")
    if kind == "pass" and not packages:
        kind = "est"
    prices: tuple[tuple[str | None, int], ...] = ((None, random.choice(AMOUNTS)),)
    if random.random() < 0.35:
        prices = tuple((quality, random.choice(AMOUNTS)) for quality in some(random, QUALITIES[1:]))
    starts = edge + random.choice((0, HOUR_MS, 30 * DAY_MS))
    ends = starts + random.choice((1, HOUR_MS, 3 * HOUR_MS))
    changes: dict[str, Any] = {"content": some(random, CONTENTS[2:5])}
    if kind == "ppv":
        changes |= {"starts_ms": starts, "ends_ms": ends, "cancel": "before_start"}
    if kind == "pass":
        hours = random.choice((1, 24))
        changes = {"package": random.choice(packages), "duration_ms": hours * HOUR_MS}
    if kind == "rental":
        changes |= {"start_within_ms": random.choice((HOUR_MS, 720 * HOUR_MS))}
        changes |= {"watch_within_ms": random.choice((HOUR_MS // 2, 48 * HOUR_MS))}
        changes |= {"cancel": "before_play"}
    if id_ == "sometimes":
        changes |= {"sale_from_ms": edge, "sale_until_ms": edge + HOUR_MS}
    if id_ == "sometimes" or random.random() < 0.2:
        changes |= {"starts_ms": starts, "cancel": "before_start"}
    if random.random() < 0.2:
        changes["cancel"] = "never"
    return Offer(id_, kind, prices, **changes)


# --- logs ----------------------------------------------------------------------------------------


@dataclass
class _Player:
    """A session as the device sees it, and when it last spoke."""

    account: str
    device: str
    session: str
    content: str
    kind: str
    quality: str
    last: int
    state: str = "playing"
    playhead: int | None = None
    rate: float | None = None


@dataclass
class _Log:
    """Writes a log step by step. `now` is the gateway's clock, which times are drawn around."""

    random: Random
    books: tuple[Book, ...]
    edge: int
    now: int = 0
    way: str = "gateway"  # how `received` is stamped
    entries: list[dict[str, Any] | bytes] = field(default_factory=list)
    players: list[_Player] = field(default_factory=list)
    orders: list[tuple[str, str]] = field(default_factory=list)

    def lines(self) -> tuple[bytes, ...]:
        random = self.random
        self.now = self.edge - random.choice((0, 1, 10 * MINUTE_MS, HOUR_MS, 150 * MINUTE_MS))
        for account in ACCOUNTS[:3]:
            if random.random() < 0.8:
                self.open_account(account)
        for _ in range(random.randint(20, 200)):
            self.step()
        self.disturb()
        if random.random() < 0.05:  # a sender tells everything once more
            self.entries += self.entries
        self.receive()
        if random.random() < 0.05:  # two files of one log, or one file joined to itself
            self.way = "joined"
            self.entries += self.entries
        return tuple(self.spelled(entry) for entry in self.entries)

    def step(self) -> None:
        steps = {
            self.beat: 40,
            self.beat_all: 18,
            self.tune_in: 8,
            self.open_account: 5,
            self.change_packages: 4,
            self.top_up: 6,
            self.purchase: 8,
            self.cancel: 6,
            self.malformed: 2,
            self.stray: 3,
            self.jump: 2,
            self.repeat: 5,
            self.leap: 1,
        }
        self.random.choices(tuple(steps), tuple(steps.values()))[0]()

    def add(self, type_: str, account: str, time: int | None = None, **fields: Any) -> None:
        usage = {"type": type_, "time": self.now if time is None else time, "account": account}
        given = {name: value for name, value in fields.items() if value is not None}
        self.entries.append(usage | {"received": self.now} | given)

    # --- watching --------------------------------------------------------------------------------

    def tune_in(self) -> None:
        random = self.random
        player = _Player(
            account=random.choice(ACCOUNTS[:3] if random.random() < 0.95 else ACCOUNTS),
            device=random.choice(DEVICES),
            session=random.choice(SESSIONS),
            content=random.choice(CONTENTS),
            kind=random.choice(KINDS),
            quality=random.choice(QUALITIES),
            last=self.now,
            playhead=maybe(random, 0.4, random.choice((0, self.now, -5_000))),
        )
        self.players = [
            other
            for other in self.players[-4:]
            if (other.account, other.device, other.session)
            != (player.account, player.device, player.session)
        ]
        self.players.append(player)
        self.view(player)

    def beat(self) -> None:
        """One player speaks again, as late as may be, or at an edge."""
        if not self.players:
            self.tune_in()
            return
        random = self.random
        player, book = random.choice(self.players), random.choice(self.books)
        beat, idle = book.heartbeat_timeout_ms, book.idle_ms
        gaps = (0, 1, 29_999, 30_000, 60_000, beat - 1, beat, beat, beat + 1, idle, idle + 1)
        wanted = player.last + random.choice(gaps)
        if random.random() < 0.3:
            edge = random.choice((15 * MINUTE_MS, HOUR_MS))
            wanted = (self.now // edge + 1) * edge + random.choice((-1, 0, 1))
        self.now = max(self.now, wanted)
        self.change(player)
        self.view(player)

    def beat_all(self) -> None:
        """Every player speaks within a few seconds."""
        self.now += self.random.choice((10_000, 30_000, 60_000, 89_000, 600_000))
        for player in self.players:
            self.now += self.random.choice((0, 1, 250, 1_000))
            self.change(player)
            self.view(player)

    def change(self, player: _Player) -> None:
        """What a viewer may do: mostly nothing."""
        random = self.random
        player.state = random.choices(STATES, (70, 4, 8, 3, 3, 6))[0]
        if random.random() < 0.10:
            player.quality = random.choice(QUALITIES)
        if random.random() < 0.09:
            player.content = random.choice(CONTENTS)
        if random.random() < 0.05:
            player.kind = random.choice(KINDS)
        if player.playhead is not None:
            passed = round((self.now - player.last) * (player.rate or 1))
            advance = random.choice((passed, passed, passed // 2, 0, -1_000, passed + 7))
            player.playhead += advance
            player.rate = random.choice((None, None, 1, 1.5, 0.333, 2, 0, -1))
        if random.random() < 0.04:
            player.playhead = None if player.playhead is not None else 0

    def view(self, player: _Player, **changes: Any) -> None:
        player.last = self.now
        names = ("device", "session", "content", "kind", "state", "rate")
        fields = {name: getattr(player, name) for name in names}
        fields |= {"quality": player.quality or maybe(self.random, 0.5, "")}
        fields |= {"playhead_ms": maybe(self.random, 0.9, player.playhead)}
        self.add("view", player.account, **(fields | changes))

    # --- money -----------------------------------------------------------------------------------

    def account(self) -> str:
        return self.random.choice(ACCOUNTS[:3])

    def open_account(self, account: str | None = None) -> None:
        random = self.random
        known = tuple(plan.id for plan in self.books[0].plans)
        self.add(
            "account.open",
            account or self.account(),
            plan=random.choice((*PLANS, *known, *known, "no-such-plan")),
            region=maybe(random, 0.8, random.choice(REGIONS)),
            bill_day=maybe(random, 0.5, random.choice((1, 2, 15, 28))),
        )

    def change_packages(self) -> None:
        verb = self.random.choice(("account.subscribe", "account.subscribe", "account.unsubscribe"))
        self.add(verb, self.account(), package=self.random.choice((*PACKAGES, "no-such-package")))

    def top_up(self) -> None:
        random = self.random
        self.add(
            "balance.topup",
            self.account(),
            id=f"t{random.randint(1, 9)}",
            amount=random.choice(("0", "0.000001", "0.50", "2", "10.00", "123.456789")),
            currency=random.choice((None, None, "SEK", "EUR")),
        )

    def purchase(self) -> None:
        random = self.random
        account = self.account()
        id_ = random.choice(("o1|o2", "o\\", *(f"o{number}" for number in range(1, 9))))
        self.orders.append((account, id_))
        self.add(
            "order.purchase",
            account,
            time=self.now - random.choice((0, 0, 0, 1, 30_000, HOUR_MS)),
            id=id_,
            offer=random.choice((*OFFERS, *OFFERS, "no-such-offer")),
            quality=random.choice((None, "hd", "hd", "uhd", "uhd", "8k", "")),
            device=maybe(random, 0.5, random.choice(DEVICES)),
        )

    def cancel(self) -> None:
        random = self.random
        account, order = random.choice((*self.orders, (self.account(), "o1")))
        early = random.choice((0, 0, 1, 10 * MINUTE_MS, HOUR_MS))
        id_ = f"x{random.randint(1, 9)}"
        self.add("order.cancel", account, time=self.now - early, id=id_, order=order)

    # --- trouble ---------------------------------------------------------------------------------

    def jump(self) -> None:
        """Nothing happens until another hour, day, week or month."""
        spans = (HOUR_MS, DAY_MS - 1, DAY_MS, 7 * DAY_MS, 31 * DAY_MS, 36 * DAY_MS)
        self.now += self.random.choice(spans)
        if self.random.random() < 0.5:
            self.now = self.now // HOUR_MS * HOUR_MS

    def stray(self) -> None:
        """A record whose clock is as far off as it may be, or a little further."""
        late = 35 * DAY_MS
        off = self.random.choice((300_000, 300_001, -late, -late - 1, -MINUTE_MS, 60_000))
        if self.players and self.random.random() < 0.6:
            player = self.random.choice(self.players)
            self.view(player, time=self.now + off)
        else:
            amount, id_ = "1.00", f"t{self.random.randint(10, 14)}"
            self.add("balance.topup", self.account(), time=self.now + off, id=id_, amount=amount)

    def repeat(self) -> None:
        """Some of what a device said comes once more, as it was; its session may have ended."""
        random = self.random
        told = [entry for entry in self.entries[-60:] if isinstance(entry, dict)]
        views = [entry for entry in told if entry["type"] == "view" and "received" in entry]
        if not views:
            return
        one, keys = random.choice(views), ("account", "device", "session")
        again = [view for view in views if all(view[key] == one[key] for key in keys)]
        if random.random() < 0.5:
            book = random.choice(self.books)
            gaps = (0, 1, book.idle_ms, book.idle_ms + 1, book.repeat_ms + 5 * MINUTE_MS)
            self.now = max(self.now, one["received"] + random.choice(gaps) + random.choice((0, 1)))
        for view in again[random.randrange(len(again)) :]:
            off = random.choice((0, 0, 0, 0, 1, -1))
            self.entries.append(view | {"time": view["time"] + off, "received": self.now})

    def leap(self) -> None:
        """A record without `received` is far ahead: a wrong clock, or the log was silent."""
        random = self.random
        far = self.now + random.choice((35 * DAY_MS, 35 * DAY_MS + 1, 36 * DAY_MS, 400 * DAY_MS))
        for _ in range(random.choice((1, 1, 1, 2, 3))):
            self.top_up()
            entry = self.entries[-1]
            assert isinstance(entry, dict)
            entry["time"] = far
            del entry["received"]
        if random.random() < 0.5:
            self.now = far

    def malformed(self) -> None:
        self.entries.append(self.random.choice(MALFORMED).replace(b"NOW", b"%d" % self.now))

    # --- the log as it arrives -------------------------------------------------------------------

    def disturb(self) -> None:
        """Some records come twice, and some come late."""
        random = self.random
        again, late = random.choice(((0.0, 0.0), (0.05, 0.0), (0.03, 0.06)))
        arrived: list[dict[str, Any] | bytes] = []
        waiting: list[tuple[int, dict[str, Any] | bytes]] = []
        for place, entry in enumerate(self.entries):
            if random.random() < late:
                waiting.append((place + random.randint(1, 6), entry))
            else:
                arrived.append(entry)
            if random.random() < again:
                waiting.append((place + random.randint(0, 4), entry))
            arrived += [entry for due, entry in waiting if due <= place]
            waiting = [(due, entry) for due, entry in waiting if due > place]
        self.entries = arrived + [entry for _, entry in waiting]

    def receive(self) -> None:
        """Stamp the records as a gateway does, or as one does that cannot be trusted."""
        random = self.random
        ways = ("gateway", "gateway", "gateway", "mixed", "absent", "wobbly")
        way = self.way = random.choice(ways)
        lag, clock = random.choice((0, 0, 700)), 0
        for place, entry in enumerate(self.entries):
            if isinstance(entry, bytes):
                continue
            if "received" not in entry:
                self.way = "mixed" if way == "gateway" else way
                continue
            stamped = dict(entry)
            clock = max(clock, stamped["received"] + lag)
            stamped["received"] = clock
            if way == "wobbly" and random.random() < 0.2:
                stamped["received"] -= random.choice((1, MINUTE_MS, DAY_MS))
            if way == "absent" or (way == "mixed" and random.random() < 0.3):
                del stamped["received"]
            self.entries[place] = stamped

    def spelled(self, entry: dict[str, Any] | bytes) -> bytes:
        """The same record in one of the many ways that JSON allows."""
        if isinstance(entry, bytes):
            return entry
        random = self.random
        fields = list(entry.items())
        if random.random() < 0.2:
            random.shuffle(fields)
        for name in ("time", "received"):
            if name in entry and random.random() < 0.15:
                fields.append((name, rfc_3339(random, entry[name])))
                fields.remove((name, entry[name]))
        if random.random() < 0.05:
            fields.append(("x-vendor", {"nested": [1.5, None, "ö"]}))
        ascii_only, spaced = random.random() < 0.3, random.random() < 0.3
        separators = (", ", ": ") if spaced else (",", ":")
        text = json.dumps(dict(fields), ensure_ascii=ascii_only, separators=separators)
        return text.encode() + (b"\r" if random.random() < 0.03 else b"")


def rfc_3339(random: Random, time_ms: int) -> str:
    """One of the ways to write an instant, in one of the odder zones."""
    minutes = random.choice((0, 0, 60, -210, 345, 845, -719, 1439))
    zone = timezone(timedelta(minutes=minutes))
    local = (EPOCH + timedelta(milliseconds=time_ms)).astimezone(zone)
    digits = f"{time_ms % 1000:03d}" + random.choice(("", "999", "000001"))
    if time_ms % 1000 == 0 and random.random() < 0.5:
        digits = ""
    fraction = f".{digits}" if digits else ""
    suffix = f"{'-' if minutes < 0 else '+'}{abs(minutes) // 60:02d}:{abs(minutes) % 60:02d}"
    if minutes == 0:
        suffix = random.choice(("Z", "z", "+00:00", "-00:00"))
    letter = random.choice("Tt")
    return f"{local:%Y-%m-%d}{letter}{local:%H:%M:%S}{fraction}{suffix}"


def _view_with(**changes: Any) -> bytes:
    usage: dict[str, Any] = {"type": "view", "time": "NOW", "account": "anna", "device": "tv"}
    usage |= {"session": "s1", "content": "ch-1", "kind": "channel", "state": "playing"}
    kept = {name: value for name, value in (usage | changes).items() if value is not None}
    return json.dumps(kept).replace('"NOW"', "NOW").encode()


MALFORMED = (
    b"",
    b"  \t",
    b"{",
    b"[]",
    b"17",
    b"null",
    b"\x00\xff",
    b'{"type":"view"',
    b'{"type":"ingest.suspended","reason":"unbound","detail":"no token","raw":"eyJ9","received":NOW}',
    b'{"type":"ingest.suspended","reason":"Un bound","detail":"no token","raw":"eyJ9"}',
    _view_with(account=None),
    _view_with(account=""),
    _view_with(account="x" * 129),
    _view_with(account=7),
    _view_with(device=None),
    _view_with(state="asleep"),
    _view_with(type="watch"),
    _view_with(time="2026-03-02T12:00:00"),
    _view_with(time="2026-03-02T12:00:60Z"),
    _view_with(time=1e30),
    _view_with(time=True),
    _view_with(received="soon"),
    _view_with(rate="fast"),
    _view_with(rate=1.0001),
    _view_with(playhead_ms=0.5),
    _view_with(quality=1080),
    _view_with().replace(b"anna", b"ann\xe4"),
    _view_with().replace(b"anna", b"\\udc00"),
    _view_with(rate=7).replace(b"7", b"NaN"),
    _view_with(type="account.open", plan="post", bill_day=29),
    _view_with(type="account.open", plan=None),
    _view_with(type="account.subscribe"),
    _view_with(type="balance.topup", id="t1", amount=5),
    _view_with(type="balance.topup", id="t1", amount="-5"),
    _view_with(type="balance.topup", id="t1", amount="1.0000001"),
    _view_with(type="order.purchase", offer="keep"),
    _view_with(type="order.cancel", id="x1"),
)
"""Lines that hold no usage record, or no whole one; NOW stands for a time. Two are blank."""
