"""What keeps a gateway from starting, or a key file from being changed: the operator's to mend."""

from __future__ import annotations


class GatewayError(Exception):
    """The sentence says what is wrong, where, and how to mend it."""


class FolderLogError(GatewayError):
    """The folder cannot be written as a log."""


class KafkaLogError(GatewayError):
    """The topic cannot be written."""


class BoxMemoryError(GatewayError):
    """The file of what boxes have said cannot be used."""


class KeyFileError(GatewayError):
    """The key file cannot be used."""
