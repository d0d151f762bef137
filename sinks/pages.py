"""What every store reads in pages: rows by cursor, and whole tables by key."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

import polars as pl

from rating.schemas import ACCOUNTS, CHARGE_EVIDENCE, CHARGES, ORDERS, SESSIONS, SIGNALS, SUSPENSE

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sinks.store import Kind

SEQ: dict[str, pl.DataType] = {"seq": pl.Int64()}
STORED_CHARGES = pl.Schema({**CHARGES, **CHARGE_EVIDENCE})
STORED_SESSIONS = pl.Schema({"partition": pl.Int64(), "as_of_ms": pl.Int64(), **SESSIONS})
EVER_MS, NEVER_MS = -(2**62), 2**62


class PagedStore(ABC):
    """The pages of a billing store, over the two questions that each store asks in its own way."""

    SESSION_NUMBER: ClassVar[str]  # the column that numbers open sessions as they were written

    @abstractmethod
    def _rows_after(
        self, kind: Kind, schema: pl.Schema, seq: int, limit: int, upto_seq: int | None
    ) -> pl.DataFrame:
        """Give the next rows of a kind: seq and the schema's columns, ascending by seq."""

    @abstractmethod
    def _page(
        self, table: str, schema: pl.Schema, key: Sequence[str], before: Sequence[Any], rows: int
    ) -> pl.DataFrame:
        """Give a table's next rows by its key, from the row after `before` on."""

    def charges_after(self, seq: int, limit: int, upto_seq: int | None = None) -> pl.DataFrame:
        """Give the next charges: seq, CHARGES and CHARGE_EVIDENCE, ascending by seq."""
        return self._rows_after("charges", STORED_CHARGES, seq, limit, upto_seq)

    def suspense_after(self, seq: int, limit: int, upto_seq: int | None = None) -> pl.DataFrame:
        """Give the next suspense rows: seq and SUSPENSE, ascending by seq."""
        return self._rows_after("suspense", SUSPENSE, seq, limit, upto_seq)

    def signals_after(self, seq: int, limit: int, upto_seq: int | None = None) -> pl.DataFrame:
        """Give the next signals: seq and SIGNALS, ascending by seq."""
        return self._rows_after("signals", SIGNALS, seq, limit, upto_seq)

    def accounts(self, rows: int = 50_000) -> Iterator[pl.DataFrame]:
        """Give all accounts (ACCOUNTS) in pages, ascending by account."""
        return self._pages("accounts", ACCOUNTS, ("account",), ("",), rows)

    def orders(self, rows: int = 50_000) -> Iterator[pl.DataFrame]:
        """Give all orders (ORDERS) in pages, ascending by account and order."""
        return self._pages("orders", ORDERS, ("account", "order"), ("", ""), rows)

    def open_sessions(self, rows: int = 50_000) -> Iterator[pl.DataFrame]:
        """Give the open sessions (as_of_ms and SESSIONS) in pages, as last written."""
        number = self.SESSION_NUMBER
        schema = pl.Schema({number: pl.Int64(), "as_of_ms": pl.Int64(), **SESSIONS})
        for page in self._pages("open_sessions", schema, (number,), (0,), rows):
            yield page.drop(number)

    def _pages(
        self, table: str, schema: pl.Schema, key: Sequence[str], before: Sequence[Any], rows: int
    ) -> Iterator[pl.DataFrame]:
        """Give a table in pages by its key.

        Each page is read on its own, so that a slow consumer holds nothing up.
        """
        while not (page := self._page(table, schema, key, before, rows)).is_empty():
            yield page
            before = page.select(key).row(-1)
