"""From `[[offers]]` tables to offers. Source: spec section 5."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tariffs import values
from tariffs.model import EVER_MS, NEVER_MS, UNIT_MS, Offer
from tariffs.money import AMOUNT_MICROS_MAX
from tariffs.reading import Table, with_ids

if TYPE_CHECKING:
    from collections.abc import Collection

    from tariffs.model import OfferKind
    from tariffs.reading import Parse

HOUR_MS = UNIT_MS["hour"]
KINDS = ("ppv", "rental", "est", "pass")
OWN_KEYS = {
    "content": ("ppv", "rental", "est"),
    "ends": ("ppv",),
    "start_within_h": ("rental",),
    "watch_within_h": ("rental",),
    "package": ("pass",),
    "hours": ("pass",),
}
"""Keys that mean something to some kinds of offer only."""

_hours = values.span_ms(HOUR_MS, positive=True)
_price = values.amount(AMOUNT_MICROS_MAX)


def read_offers(top: Table, packages: Collection[str]) -> tuple[Offer, ...]:
    """Read the offers of a book whose packages are known."""
    package = values.known("package", packages)
    return tuple(
        _read_offer(table, offer_id, package)
        for table, offer_id in with_ids(top.tables("offers", "[[offers]]"), "offer")
    )


def _read_offer(table: Table, offer_id: str, known_package: Parse[str]) -> Offer:
    kind: OfferKind | None = table.need("kind", values.choice(*KINDS), None, '"ppv"')
    for key, kinds in OWN_KEYS.items():
        if key in table and kind is not None and kind not in kinds:
            mend = "take it out, or change `kind`"
            table.report(f"`{key}` is no key of a {kind} but of {', '.join(kinds)}", mend, key)
    content = table.many("content", values.name)
    package = table.one("package", known_package, None)
    starts_ms = table.one("starts", values.instant_ms, None)
    ends_ms = table.one("ends", values.instant_ms, None)
    offer = Offer(
        id=offer_id,
        kind=kind or "est",
        prices=_read_prices(table),
        content=content or (),
        package=package,
        sale_from_ms=table.one("sale_from", values.instant_ms, EVER_MS),
        sale_until_ms=table.one("sale_until", values.instant_ms, NEVER_MS),
        starts_ms=starts_ms,
        ends_ms=ends_ms,
        cancel=table.one("cancel", values.choice("never", "before_start", "before_play"), "never"),
        start_within_ms=table.one("start_within_h", _hours, 720 * HOUR_MS),
        watch_within_ms=table.one("watch_within_h", _hours, 48 * HOUR_MS),
        duration_ms=table.one("hours", _hours, 0),
    )
    _check_offer(table, offer, kind)
    table.close()
    return offer


def _read_prices(table: Table) -> tuple[tuple[str | None, int], ...]:
    """One amount for every quality, or a table of one for each."""
    if not isinstance(table.values.get("price"), dict):
        return ((None, table.need("price", _price, 0, '"49.00"')),)
    prices = table.table("price", table.inner("price"))
    if not prices.values:
        table.report("`price` has no quality", 'write { hd = "49.00" } or "49.00"', "price")
    return tuple((quality, prices.one(quality, _price, 0)) for quality in prices.values)


def _check_offer(table: Table, offer: Offer, kind: OfferKind | None) -> None:
    """Check what the keys of one offer mean together."""
    if kind == "pass":
        for key, example in (("package", '"…"'), ("hours", "24")):
            if key not in table:
                table.report(f"`{key}` is missing", f"a pass needs it: add {key} = {example}")
    elif kind is not None and not table.values.get("content"):
        table.report("`content` names nothing", 'say what is sold: content = ["…"]')
    if offer.sale_from_ms >= offer.sale_until_ms:
        table.report(
            "`sale_until` is not after `sale_from`", "it could never be sold", "sale_until"
        )
    starts_ms, ends_ms = offer.starts_ms, offer.ends_ms
    if starts_ms is not None and ends_ms is not None and starts_ms >= ends_ms:
        table.report("`ends` is not after `starts`", "correct one of them", "ends")
    if offer.cancel == "before_start" and "starts" not in table:
        table.report('`cancel` is "before_start", but nothing starts', "add `starts`", "cancel")
    if offer.cancel == "before_play" and kind not in ("rental", None):
        mend = 'only a rental can say when it is first played; write "before_start" or "never"'
        table.report(f'`cancel` is "before_play" for {kind}', mend, "cancel")
