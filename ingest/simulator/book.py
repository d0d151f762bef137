"""The tariff book that fits a simulated operator. Every price model has a rule."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from ingest.simulator.catalogue import FILMS, FILMS_BOUGHT, PACKAGES

if TYPE_CHECKING:
    from ingest.simulator.run import Run

OVERRUN = timedelta(minutes=30)  # an event's order covers this much after the planned end

BOOK = """\
# The tariff of a simulated operator; it fits the usage that `ratecast simulate` makes.
[book]
id = "simulated-{year}"
currency = "SEK"
timezone = "Europe/Stockholm"
effective_from = {effective_from}
prices_include_tax = true
default_plan = "payg"

[session]
heartbeat_timeout_s = {heartbeat_timeout_s}
idle_s = {idle_s}

[tax]
SE = "25"
FI = "25.5"
NO = "25"
"*" = "25"

[bands.evening]
days = ["mon", "tue", "wed", "thu", "fri"]
from = "19:00"
to = "23:00"

[bands.weekend]
days = ["sat", "sun"]
from = "12:00"
to = "01:00"

[packages]
{packages}

# Postpaid, basic channels included, the rest by the hour.
[[plans]]
id = "family"
mode = "postpaid"
includes = ["basic"]

[[plans.rules]]
id = "premium-uhd"
kind = "channel"
package = "premium"
quality = "uhd"
per = "month"
increment_s = 60
free_below_s = 10
price = {{ model = "per_unit", amount = "9.00", unit = "hour" }}

[[plans.rules]]
id = "premium-hours"
kind = "channel"
package = ["plus", "premium"]
per = "month"
increment_s = 60
free_below_s = 10
price = {{ model = "graduated", unit = "hour", tiers = [
    {{ up_to = 1, amount = "6.00" }},
    {{ up_to = 10, amount = "4.00" }},
    {{ amount = "2.00", flat = "1.00" }},
] }}

[[plans.rules]]
id = "catchup-day"
kind = "catchup"
per = "day"
price = {{ model = "flat", amount = "9.00" }}

[[plans.rules]]
id = "title"
kind = "vod"
per = "content"
free_below_s = 120
price = {{ model = "package", size = 30, unit = "minute", amount = "7.50" }}

[[plans.rules]]
id = "other"
free_below_s = 10
price = {{ model = "per_unit", amount = "3.00", unit = "hour" }}

[[plans.allowances]]
id = "first-half-hour"
quantity = 0.5
unit = "hour"
per = "month"
rules = ["premium-uhd", "premium-hours"]

[[plans.discounts]]
id = "spring"
percent = "10"
rules = ["premium-hours", "other"]
from = {discount_from}
until = {discount_until}

[[plans.caps]]
id = "premium-day"
per = "day"
amount = "12.00"
rules = ["premium-uhd", "premium-hours"]

[[plans.caps]]
id = "premium-month"
per = "month"
amount = "149.00"
rules = ["premium-uhd", "premium-hours"]

# Postpaid, basic and premium channels included; titles get cheaper the more are watched.
[[plans]]
id = "total"
mode = "postpaid"
includes = ["basic", "premium"]

[[plans.rules]]
id = "title-hours"
kind = "vod"
per = "month"
increment_s = 60
price = {{ model = "volume", unit = "hour", tiers = [
    {{ up_to = 2, amount = "8.00" }},
    {{ up_to = 10, amount = "6.00" }},
    {{ amount = "5.00" }},
] }}

[[plans.rules]]
id = "catchup-day"
kind = "catchup"
per = "day"
price = {{ model = "flat", amount = "5.00" }}

[[plans.rules]]
id = "other"
free_below_s = 10
price = {{ model = "per_unit", amount = "2.00", unit = "hour" }}

[[plans.caps]]
id = "whole-day"
per = "day"
amount = "15.00"

# Prepaid, by the minute; also for accounts that were never opened.
[[plans]]
id = "payg"
mode = "prepaid"
credit_limit = "0"

[[plans.rules]]
id = "evening"
kind = "channel"
band = ["evening", "weekend"]
increment_s = 60
free_below_s = 10
price = {{ model = "per_unit", amount = "12.00", unit = "hour" }}

[[plans.rules]]
id = "day"
kind = "channel"
increment_s = 60
free_below_s = 10
price = {{ model = "per_unit", amount = "6.00", unit = "hour" }}

[[plans.rules]]
id = "catchup-day"
kind = "catchup"
per = "day"
price = {{ model = "flat", amount = "12.00" }}

[[plans.rules]]
id = "other"
increment_s = 60
minimum_s = 300
price = {{ model = "per_unit", amount = "10.00", unit = "hour" }}
"""

EVENT = """
[[offers]]
id = "event-{day}"
kind = "ppv"
content = ["evt-{day}"]
price = {{ hd = "99.00", uhd = "129.00" }}
starts = {starts}
ends = {ends}
cancel = "before_start"
"""

RENTAL = """
[[offers]]
id = "rent-film-{number:02d}"
kind = "rental"
content = ["film-{number:02d}"]
price = {{ sd = "29.00", hd = "39.00", uhd = "49.00" }}
cancel = "before_play"
"""

BOUGHT = """
[[offers]]
id = "buy-film-{number:02d}"
kind = "est"
content = ["film-{number:02d}"]
price = "119.00"
"""

PREMIUM_DAY = """
[[offers]]
id = "premium-day"
kind = "pass"
package = "premium"
price = "39.00"
hours = 24
"""


def book_toml(run: Run) -> str:
    """The book as TOML: in force from the year's start, with timeouts that fit the heartbeat.

    Source: spec sections 3 and 5.
    """
    catalogue, heartbeat_s = run.catalogue, run.operator.heartbeat_s
    month = run.start.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    lists = (
        f"{package} = [{', '.join(quote(name) for name in catalogue.package(index))}]"
        for index, package in enumerate(PACKAGES)
    )
    book = BOOK.format(
        year=month.year,
        effective_from=rfc3339(month.replace(month=1)),
        heartbeat_timeout_s=max(90, 3 * heartbeat_s),
        idle_s=max(300, 10 * heartbeat_s),
        packages="\n".join(lists),
        discount_from=rfc3339(month),
        discount_until=rfc3339((month + timedelta(days=31)).replace(day=1)),
    )
    events = (
        EVENT.format(day=day, starts=rfc3339(event.starts), ends=rfc3339(event.ends + OVERRUN))
        for day, event in enumerate(catalogue.events, start=1)
    )
    rentals = (RENTAL.format(number=number) for number in range(1, FILMS + 1))
    bought = (BOUGHT.format(number=number) for number in range(1, FILMS_BOUGHT + 1))
    return "".join([book, *events, *rentals, *bought, PREMIUM_DAY])


def quote(name: str) -> str:
    """A name as a TOML string; the catalogue's names need no escapes."""
    return f'"{name}"'


def rfc3339(instant: datetime) -> str:
    """An instant as a TOML date and time in UTC."""
    return instant.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
