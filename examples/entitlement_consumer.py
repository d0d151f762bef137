"""An example of an entitlement service: cuts and opens streams as topic `signals` says.

    python examples/entitlement_consumer.py localhost:9092

It needs kafka-python alone. A message may come twice, then with the same id, and a repeat of an old
`balance.exhausted` must not cut a stream that was opened since. Within a partition ids of first
messages ascend, so the highest one seen tells all repeats.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict

from kafka import KafkaConsumer

DOES = {
    "balance.exhausted": "cut every stream that is paid by the minute",
    "balance.restored": "let streams start again",
    "order.accepted": "open what was ordered",
    "order.cancelled": "close what was ordered",
    "order.declined": "tell the viewer why",
    "order.cancel_rejected": "tell the viewer why",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("kafka", help="host:port")
    parser.add_argument("--topic", default="signals")
    parser.add_argument("--idle-s", type=float, help="stop once nothing came for so long")
    given = parser.parse_args()
    consumer = KafkaConsumer(
        given.topic,
        bootstrap_servers=given.kafka,
        # Without a group: each start reads the whole topic, which tells who may watch now.
        auto_offset_reset="earliest",
        consumer_timeout_ms=round(given.idle_s * 1000) if given.idle_s else 10**10,
    )
    highest: dict[int, int] = defaultdict(int)
    exhausted: set[str] = set()
    for message in consumer:
        signal = json.loads(message.value)
        if int(signal["id"]) <= highest[message.partition]:
            continue
        highest[message.partition] = int(signal["id"])
        if signal["type"] == "balance.exhausted":
            exhausted.add(signal["account"])
        elif signal["type"] == "balance.restored":
            exhausted.discard(signal["account"])
        about = " ".join(signal[name] for name in ("order", "reason") if signal[name])
        print(signal["account"], DOES[signal["type"]], about, flush=True)
    print(f"{len(exhausted)} accounts may not watch: {', '.join(sorted(exhausted))}")


if __name__ == "__main__":
    main()
