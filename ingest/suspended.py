"""Reports that never became usage records: suspended before the log, and passed on through it.

What a gateway cannot read, or cannot bind to an account, must not be lost, and all that is kept
enters by the one log. So it writes a line that says why, with the bytes as they came:

    {"type": "ingest.suspended", "reason": "unbound", "detail": "...", "raw": "<base64>"}

`account`, `time` and `received` may be given where they are known. Such a line is one record,
suspended for its own reason; it moves no clock and changes nothing else.
"""

from __future__ import annotations

import re
from base64 import b64decode
from binascii import Error as Base64Error
from typing import Any

from rating.schemas import SuspendedBefore

TYPE = "ingest.suspended"
REASON = re.compile(r"[a-z][a-z0-9_]{0,63}")


def read_suspended(fields: dict[str, Any]) -> tuple[SuspendedBefore, str] | str:
    """What a line of this type holds and its sentence of detail; or what is wrong with the line."""
    reason, detail, raw = (fields.get(name) for name in ("reason", "detail", "raw"))
    if not isinstance(reason, str) or not REASON.fullmatch(reason):
        return 'field "reason" is no word of small letters, digits and underscores'
    if not isinstance(detail, str) or not detail:
        return 'field "detail" is no sentence'
    if not detail.isprintable():
        return 'field "detail" holds characters that cannot be shown'
    if not isinstance(raw, str):
        return 'field "raw" is missing, expected base64'
    try:
        return SuspendedBefore(reason, b64decode(raw, validate=True)), detail
    except (Base64Error, ValueError):
        return 'field "raw" is no base64'
