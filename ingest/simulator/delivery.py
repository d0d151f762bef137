"""From a device to the log: the clock, the network, and the faults on the way."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ingest.simulator.chance import between, mischance, quantile
from ingest.simulator.rows import CHANNEL, INTACT, ORDER_FILM
from ingest.simulator.world import DEVICES_MOST, SECOND_MS
from rating.jit import jit

if TYPE_CHECKING:
    from numpy.typing import NDArray


@jit
def deliver(device: Any, now_ms: int, world: Any, row: Any) -> None:
    """Set when the row was made by the device's clock, and when and how it reaches the log."""
    row.time_ms = now_ms + device.skew_ms
    received_ms = now_ms + quantile(mischance(device), world.network_ms)
    if device.outage_ms <= now_ms < device.outage_end_ms:
        received_ms += device.outage_end_ms - now_ms
    received_ms = max(received_ms, device.received_ms)
    device.received_ms = received_ms
    drawn = mischance(device)
    if drawn < world.fault_reordering:
        received_ms += between((drawn << 8) & 0xFFFFFFFF, SECOND_MS, 10 * SECOND_MS)
    row.received_ms = received_ms
    row.damage = INTACT
    row.damage_at = 0
    drawn = mischance(device)
    if drawn < world.fault_malformed:
        row.damage = 1 + (drawn & 3)
        row.damage_at = (drawn >> 2) & 0xFFFF


@jit
def send(device: Any, now_ms: int, type_: int, world: Any, sent: NDArray[Any], at: int) -> int:
    """Add one record of the device as it stands, and its retry.

    Returns: how many rows of `sent` are used then; at most two more.
    """
    row = sent[at]
    row.type = type_
    row.household = device.household
    row.ordinal = device.ordinal
    row.number = device.session * DEVICES_MOST + device.ordinal
    row.subject = device.offer if type_ == ORDER_FILM else device.content
    row.kind = device.kind
    row.quality = device.quality
    row.state = device.state
    row.rate = device.rate
    row.has_playhead = device.kind != CHANNEL or device.sends_playhead
    row.amount = device.head_ms
    row.region = 0
    deliver(device, now_ms, world, row)
    drawn = mischance(device)
    if drawn >= world.fault_retries:
        return at + 1
    sent[at + 1] = row
    sent[at + 1].damage = INTACT
    sent[at + 1].received_ms += between((drawn << 7) & 0xFFFFFFFF, SECOND_MS, 5 * SECOND_MS)
    return at + 2
