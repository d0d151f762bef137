"""The route for set-top boxes: /v1/bulk, reports of TR-069 and TR-369 bulk data.

A box sends until it hears success, and keeps what it could not send. So whatever it would do wrong
again is taken and suspended; it is refused only where a person has to mend something first.
Source: TR-369 annex on HTTP bulk data collection (R-BULK.0 to 8), which is TR-157 annex A.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import unquote

from starlette.responses import JSONResponse, Response

from ingest.adapters import bulk_data
from ingest.adapters.bulk_data import Arrival, Box, Owner
from ingest.adapters.canonical import to_log_lines
from ingest.adapters.mapped_json import JsonMapping
from ingest.gateway.box_counters import NAME, counter_lines
from ingest.gateway.box_memory import BoxMemory
from ingest.gateway.folder_log import FolderLog
from ingest.gateway.group_commit import LogUnavailable
from ingest.gateway.problems import Problem, no_credentials, retry_later
from ingest.gateway.records import records_of
from ingest.gateway.reports import since_bound
from ingest.gateway.senders import Anonymous, Backend, Viewer, identify_box
from ingest.gateway.sent import box_sent_ms
from ingest.gateway.tokens import TEXT_CHARACTERS_MAX
from ingest.gateway.turns import Turns
from ingest.gateway.viewing import check_type
from ingest.json_exact import MalformedError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import polars as pl
    from starlette.requests import Request

    from ingest.adapters.bulk_data import BulkReading
    from ingest.gateway.intake import Intake
    from ingest.gateway.records import Records

BULK_TYPES = ("application/json", "text/csv")
ACCOUNT_HEADER = "Ratecast-Account"
SCHEMES = 'Basic realm="ratecast", Bearer'
MEMORY = "boxes.db"
NO_EVENTS = JsonMapping("(none: start the gateway with --box-events FILE)", (), (), ())


class BoxFolder:
    """What the gateway keeps of boxes: what they have said, and their audience counters.

    memory: see `BoxMemory`. counters: a log of JSON lines, rows of `bulk_data.COUNTERS` with
    `received`, made durable as the usage log is. Raises, when it is made: BoxMemoryError.
    """

    def __init__(self, folder: Path) -> None:
        self.memory = BoxMemory(folder / MEMORY)
        self.counters = FolderLog(folder, name=NAME)

    async def open(self) -> None:
        """Take the folder. Raises: FolderLogError, OSError."""
        await self.counters.open()

    async def close(self) -> None:
        """Finish what was kept, and let the folder go."""
        await self.counters.close()
        self.memory.close()


class Boxes:
    """The route. folder: None where this gateway takes no bulk data."""

    def __init__(
        self, intake: Intake, folder: BoxFolder | None, mapping: JsonMapping | None
    ) -> None:
        self._intake = intake
        self._folder = folder
        self._mapping = mapping or NO_EVENTS
        self._turns = Turns()

    async def post_bulk(self, request: Request) -> Response:
        """Take the reports of a box."""
        sender = identify_box(request, self._intake.keys.now())
        if self._folder is None:
            raise Problem(
                404, "no-such-path", "this gateway takes no bulk data; start it with --boxes DIR"
            )
        if isinstance(sender, Anonymous):
            raise no_credentials(sender.why, schemes=SCHEMES)
        owner = owner_of(sender, request.headers)
        self._intake.let_pass(request, sender)
        check_type(request, BULK_TYPES)
        sent_ms = box_sent_ms(request.headers)
        body = await self._intake.body(request, sender, of_box=True)
        device = device_in(owner, request.url.query)
        name = None if device is None else (memory_account(sender, owner), device)
        async with self._turns.of(name or object()):
            answer = await self._take(request, sender, owner, name, body, sent_ms, self._folder)
        return JSONResponse(answer)

    async def _take(
        self,
        request: Request,
        sender: Backend | Viewer,
        owner: Owner,
        name: tuple[str, str] | None,
        body: bytes,
        sent_ms: int | None,
        folder: BoxFolder,
    ) -> dict[str, object]:
        """Log what a request holds that was not there before; returns what to say of it.

        name: of the box in the folder's memory; None where nothing says which box it is.
        """
        box = folder.memory.of(*name) if name else Box()
        received_ms = self._intake.log.received_ms()

        def read() -> tuple[BulkReading, Records]:
            found = bulk_data.read(
                request.url.query,
                request.headers.items(),
                body,
                self._mapping,
                owner,
                box=box,
                arrival=Arrival(received_ms, sent_ms),
            )
            reading = found.reading
            if (binding := sender.binding) and binding.issued_ms is not None:
                reading = since_bound(reading, binding.account, binding.issued_ms, box.marks)
            return found, records_of(to_log_lines(reading, received_ms))

        found, records = await self._intake.understand(sender, body, read)
        await self._intake.append(request, sender, records.lines, received_ms)
        if name and found.box != box:
            folder.memory.keep(*name, found.box)
        await self._keep(found.counters, received_ms, folder)
        return records.answer() | {"repeats": found.repeats, "counters": len(found.counters)}

    async def _keep(self, counters: pl.DataFrame, received_ms: int, folder: BoxFolder) -> None:
        """Return once the counters are on the disk. Raises: Problem 503."""
        if not len(counters):
            return
        lines = counter_lines(counters, received_ms)
        try:
            await folder.counters.append(lines)
        except LogUnavailable as failure:
            raise retry_later("no-log", f"{failure}; send it again", 2, 503) from failure
        self._intake.metrics.counters.inc(len(lines))


def memory_account(sender: Backend | Viewer, owner: Owner) -> str:
    """The account under which a box is remembered.

    Where a back end names it, the identity of the box is its word too, and stays when the box gets
    another owner. A token's device is a name of its account's.
    """
    return owner.account or "" if sender.binding else ""


def owner_of(sender: Backend | Viewer, headers: Mapping[str, str]) -> Owner:
    """Whom a box is bound to: by its token, or by the word of the back end that passes it on.

    Raises: Problem 401, 403, 400.
    """
    if isinstance(sender, Backend):
        sender.need("bulk")
    if (binding := sender.binding) is not None:
        if binding.why_over:
            # The box keeps its reports, and its event log, until it is given another token.
            raise no_credentials(f"{binding.why_over}; give the box a new one", schemes=SCHEMES)
        return Owner(binding.account, binding.device, binding.session or None)
    said = headers.get(ACCOUNT_HEADER.lower())
    if said is None:
        return Owner()
    account = unquote(said, errors="replace")
    if not 0 < len(account) <= TEXT_CHARACTERS_MAX:
        raise Problem(
            400,
            "bad-header",
            f"{ACCOUNT_HEADER} is no text of 1 to {TEXT_CHARACTERS_MAX} characters, "
            "percent-encoded where it is not ASCII",
        )
    return Owner(account)


def device_in(owner: Owner, query: str) -> str | None:
    """Which box it is; None where neither its binding nor its query says so."""
    try:
        return owner.device or bulk_data.device_of(query)
    except MalformedError:
        return None
