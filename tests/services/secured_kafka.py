"""A broker that asks for TLS and a password: ways into it that are right, and some that are not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.kafka import Kafka, Listener, free_ports

if TYPE_CHECKING:
    from pathlib import Path

    from services.certificates import Authority

USER = "ratecast"
PLAIN, SCRAM = "security.plain.PlainLoginModule", "security.scram.ScramLoginModule"


class SecuredKafka(Kafka):
    """A broker with listeners for TLS and SASL; `address` stays open, for whoever checks.

    password: of the user `ratecast`, by PLAIN and by both kinds of SCRAM.
    secured: the listener with TLS and SASL. mutual: one with TLS that asks for a certificate.
    expired, elsewhere: as secured, with a certificate that has expired or is another host's.
    astray: as secured, but clients are sent on to where nobody listens.
    """

    def __init__(self, folder: Path, authority: Authority, password: str) -> None:
        names = ("SECURED", "MUTUAL", "EXPIRED", "ELSEWHERE", "ASTRAY")
        ports = free_ports(len(names))
        self.secured, self.mutual, self.expired, self.elsewhere, self.astray = (
            f"127.0.0.1:{port}" for port in ports
        )
        listeners = [
            Listener(
                name,
                port,
                1 if name == "ASTRAY" else port,
                protocol="SSL" if name == "MUTUAL" else "SASL_SSL",
            )
            for name, port in zip(names, ports, strict=True)
        ]
        good = authority.issue("broker")
        settings = {
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": str(good.both),
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": str(authority.certificate),
            "listener.name.mutual.ssl.client.auth": "required",
            "sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512",
        }
        wrong = {
            "expired": authority.issue("expired", is_expired=True),
            "elsewhere": authority.issue("elsewhere", "kafka.example.com"),
        }
        for name, issued in wrong.items():
            settings[f"listener.name.{name}.ssl.keystore.type"] = "PEM"
            settings[f"listener.name.{name}.ssl.keystore.location"] = str(issued.both)
        for name in ("secured", "astray", *wrong):
            where = f"listener.name.{name}"
            users = f'user_{USER}="{password}"'
            settings[f"{where}.plain.sasl.jaas.config"] = _login(PLAIN, users)
            settings[f"{where}.scram-sha-256.sasl.jaas.config"] = _login(SCRAM)
            settings[f"{where}.scram-sha-512.sasl.jaas.config"] = _login(SCRAM)
        users = [
            f"SCRAM-SHA-{bits}=[name={USER},password={password},iterations=4096]"
            for bits in (256, 512)
        ]
        super().__init__(folder, settings, listeners, users)


def _login(module: str, users: str = "") -> str:
    return f"org.apache.kafka.common.{module} required {users};"
