"""How to reach Kafka: addresses, and what a secured one asks for, from a file.

Passwords come from files alone, so that none stands in a command line, an environment or a log.
"""

from __future__ import annotations

import ssl
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PROTOCOLS = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")
MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")
SETTINGS = (
    *("security_protocol", "ca_file", "certificate_file", "key_file"),
    *("sasl_mechanism", "username", "password_file"),
)


class KafkaAccessError(Exception):
    """Kafka cannot be reached as asked. The text says what, where, and how to mend it."""


@dataclass(frozen=True, slots=True)
class KafkaAccess:
    """Addresses ("host:port,host:port") and settings, checked.

    cluster: Kafka's own id of it, once a broker was reached; None where it told none.
    """

    addresses: str
    settings: dict[str, str] = field(default_factory=dict)
    cluster: str | None = None

    @classmethod
    def read(cls, addresses: str, config: str | None = None) -> KafkaAccess:
        """Check addresses, and read settings from a TOML file. Raises: KafkaAccessError."""
        for address in addresses.split(","):
            host, _, port = address.rpartition(":")
            if not host or not port.isdecimal():
                raise KafkaAccessError(
                    f"{address!r} is no address of a Kafka broker; write host:port, several with "
                    "a comma between them"
                )
        return cls(addresses, _settings(Path(config)) if config else {})

    def client_options(self) -> dict[str, Any]:
        """Options that aiokafka and kafka-python take alike. Raises: KafkaAccessError."""
        protocol = self.settings.get("security_protocol", "PLAINTEXT")
        options: dict[str, Any] = {
            "bootstrap_servers": self.addresses,
            "security_protocol": protocol,
        }
        if protocol.endswith("SSL"):
            options["ssl_context"] = self._tls()
        if protocol.startswith("SASL"):
            options["sasl_mechanism"] = self.settings.get("sasl_mechanism", "SCRAM-SHA-512")
            options["sasl_plain_username"] = self.settings.get("username", "")
            options["sasl_plain_password"] = self._secret("password_file")
        return options

    def _tls(self) -> ssl.SSLContext:
        """Trust the authority of ca_file, or the system's; show a certificate where there is one."""
        try:
            context = ssl.create_default_context(cafile=self.settings.get("ca_file"))
            if certificate := self.settings.get("certificate_file"):
                context.load_cert_chain(certificate, self.settings.get("key_file"))
        except (OSError, ssl.SSLError) as error:
            raise KafkaAccessError(
                f"the certificates for Kafka cannot be read ({error}); check ca_file, "
                "certificate_file and key_file"
            ) from error
        return context

    def _secret(self, name: str) -> str:
        path = self.settings.get(name)
        if path is None:
            raise KafkaAccessError(
                f"{name} is missing: SASL needs it; name the file that holds the password"
            )
        try:
            return Path(path).read_text(encoding="utf-8").rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            raise KafkaAccessError(f"{path}: {name} cannot be read: {error}") from error


def _settings(path: Path) -> dict[str, str]:
    """Read and check a file of settings."""
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise KafkaAccessError(f"{path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise KafkaAccessError(f"{path}: this is no TOML: {error}") from error
    for name, value in found.items():
        if name not in SETTINGS or not isinstance(value, str):
            raise KafkaAccessError(
                f"{path}: {name} = {value!r} is no setting; there are {', '.join(SETTINGS)}, "
                "all of them texts"
            )
    for name, allowed in (("security_protocol", PROTOCOLS), ("sasl_mechanism", MECHANISMS)):
        if found.get(name, allowed[0]) not in allowed:
            raise KafkaAccessError(
                f"{path}: {name} is {found[name]!r}; it must be one of {', '.join(allowed)}"
            )
    return found
