"""Whether Kafka lets us in as asked, and if not, why: before a client is made, in one sentence.

Clients try every broker again and again, say why in their logs alone, and in the end that none
answered. A wrong password, an unknown authority or a certificate that has expired is told here.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from aiokafka.conn import create_conn
from aiokafka.errors import (
    IllegalSaslStateError,
    KafkaConnectionError,
    KafkaError,
    SaslAuthenticationFailed,
    UnsupportedSaslMechanismError,
)
from aiokafka.protocol.metadata import MetadataRequest

from rating.runtime.kafka_access import KafkaAccess, KafkaAccessError

if TYPE_CHECKING:
    from collections.abc import Sequence

Address = tuple[str, int]

TIMEOUT_MS = 10_000
HANG_UPS_MAX, HANG_UP_PAUSE_S = 3, 0.5  # since a broker that starts or ends hangs up, too
# OpenSSL's reasons to refuse a certificate (x509_vfy.h), other than who signed it.
EXPIRED, HOST_MISMATCHES = 10, (62, 64)


def reached(addresses: str, config: str | None = None) -> KafkaAccess:
    """Read how to reach Kafka, and see that a broker lets us in. Raises: KafkaAccessError."""
    access = KafkaAccess.read(addresses, config)
    # The client would log what is said here.
    log = logging.getLogger("aiokafka.conn")
    was_disabled, log.disabled = log.disabled, True
    try:
        return replace(access, cluster=asyncio.run(_reach(access)))
    finally:
        log.disabled = was_disabled


async def _reach(access: KafkaAccess) -> str | None:
    """Ask one broker after the other who belongs to the cluster. Raises: KafkaAccessError.

    Returns: the cluster's id.
    """
    options = access.client_options()
    del options["bootstrap_servers"]
    refusals: list[str] = []
    for address in access.addresses.split(","):
        host, _, port = address.rpartition(":")
        at = host.strip("[]"), int(port)
        try:
            named, cluster = await _brokers_named_by(at, options)
        except (KafkaError, OSError, TimeoutError) as error:
            refusals.append(_refusal(address, error, access))
            continue
        if named and at not in named:
            await _reach_named(address, named, access, options)
        return cluster
    silent = [said for said in refusals if said.startswith("no Kafka broker")]
    # Whoever answers and refuses knows more than whoever is silent.
    raise KafkaAccessError(next((said for said in refusals if said not in silent), refusals[0]))


async def _brokers_named_by(
    at: Address, options: dict[str, Any]
) -> tuple[list[Address], str | None]:
    """Connect to a broker. Returns: where it says that its cluster's brokers are, and its id."""
    for _ in range(HANG_UPS_MAX - 1):
        try:
            return await _ask_brokers(at, options)
        except (KafkaConnectionError, ConnectionResetError):
            await asyncio.sleep(HANG_UP_PAUSE_S)
    return await _ask_brokers(at, options)


async def _ask_brokers(at: Address, options: dict[str, Any]) -> tuple[list[Address], str | None]:
    host, port = at
    connection = await create_conn(host, port, request_timeout_ms=TIMEOUT_MS, **options)
    try:
        told = await connection.send(MetadataRequest([]))
    finally:
        connection.close()
    # Brokers before 0.10.1 tell no id.
    return [(broker[1], broker[2]) for broker in told.brokers], getattr(told, "cluster_id", None)


async def _reach_named(
    address: str, named: Sequence[Address], access: KafkaAccess, options: dict[str, Any]
) -> None:
    """See that one of the brokers lets us in where it is said to be. Raises: KafkaAccessError."""
    refusals = []
    for at in named:
        try:
            await _brokers_named_by(at, options)
        except (KafkaError, OSError, TimeoutError) as error:
            refusals.append(_refusal(f"{at[0]}:{at[1]}", error, access))
        else:
            return
    raise KafkaAccessError(
        f"{address} answers, and sends clients on to where none gets in: {refusals[0]}. Have the "
        "brokers' advertised.listeners name what clients can reach"
    )


def _refusal(address: str, error: Exception, access: KafkaAccess) -> str:
    """Say why a broker did not let us in, and how to mend it."""
    protocol = access.settings.get("security_protocol", "PLAINTEXT")
    cause = error.__cause__ if isinstance(error, KafkaConnectionError) else error
    if isinstance(cause, ssl.SSLCertVerificationError):
        why = cause.verify_message.rstrip(".")
        return (
            f"{address}: the broker's certificate is not to be trusted: {why}; "
            f"{_mend_certificate(cause.verify_code)}"
        )
    if isinstance(error, SaslAuthenticationFailed):
        user = access.settings.get("username", "")
        return (
            f"{address}: the broker refuses the user {user!r}: {error.args[0]}; check username, "
            "password_file and sasl_mechanism"
        )
    if isinstance(error, UnsupportedSaslMechanismError):
        return f"{address}: {error.args[0]}; name one of those as sasl_mechanism"
    if isinstance(error, IllegalSaslStateError):
        plain = protocol.removeprefix("SASL_")
        return f"{address}: the broker asks for no password; set security_protocol to {plain}"
    if isinstance(cause, ssl.SSLError) and "CERTIFICATE" in str(cause):
        return (
            f"{address}: the broker asks for a certificate and takes not ours ({cause.reason}); "
            "name one that it knows as certificate_file, and its key as key_file"
        )
    if isinstance(cause, ssl.SSLError | asyncio.IncompleteReadError | ConnectionResetError):
        return (
            f"{address}: the broker hangs up on {protocol}; set security_protocol to what it asks "
            "for (TLS is SSL, a password SASL), or see that this is a Kafka broker, and up"
        )
    return (
        f"no Kafka broker answers at {address} ({str(error) or type(error).__name__}); check "
        "the address, and that it runs"
    )


def _mend_certificate(verify_code: int) -> str:
    if verify_code == EXPIRED:
        return "give the broker a new one, or set this machine's clock right"
    if verify_code in HOST_MISMATCHES:
        return "reach it by a name that its certificate has, or give it one for this name"
    return "name the authority that signed it as ca_file"
