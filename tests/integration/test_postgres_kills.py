"""A PostgreSQL server killed, stopped and reached through TLS: what was committed is there."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import psycopg
import pytest
import stored
from polars.testing import assert_frame_equal
from services.certificates import Authority
from services.postgres import PostgresServer

from rating.schemas import StateChunk
from sinks.store import StoreError, open_store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from rating.schemas import Commit
    from sinks.store import BillingStore

ROWS = 200
COMMITS_A_LIFE = 5


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    """A server of its own, which writes to the disk as it would in production."""
    with PostgresServer(durable=True) as started:
        yield started


def commit_at(offset: int) -> Commit:
    return stored.commit(
        offset,
        charges=stored.many_charges(ROWS, seed=offset),
        accounts=stored.accounts(stored.account("anna", offset)),
        signals=stored.signals({"type": "t", "account": "anna", "time": offset}),
        state_added=(StateChunk("delta", offset, b"d" * 10_000),),
        state_dropped=(("delta", offset - 10),),
    )


def committed_until_it_breaks(store: BillingStore, offset: int, enough: threading.Event) -> int:
    """Commit until the server is gone; gives the offset of the last commit that returned."""
    first = offset
    try:
        while True:
            store.commit(commit_at(offset))
            offset += 10
            if offset - first >= 10 * COMMITS_A_LIFE:
                enough.set()
    except StoreError as error:
        assert error.transient, error
        return offset


def assert_whole(store: BillingStore, offset: int) -> None:
    """Everything up to an offset is there, once, and nothing else."""
    charges = store.charges_after(0, 10**9)
    assert charges["seq"].to_list() == list(range(1, ROWS * offset // 10 + 1))
    assert_frame_equal(charges[-ROWS:].drop("seq"), stored.many_charges(ROWS, seed=offset - 10))
    assert store.last_seq("signals") == offset // 10
    loaded = store.load(0)
    assert loaded is not None
    assert loaded.state == (StateChunk("delta", offset - 10, b"d" * 10_000),)
    (accounts,) = store.accounts()
    assert accounts["balance"].to_list() == [offset - 10]


def test_a_server_that_dies_loses_nothing_and_leaves_nothing_half(server: PostgresServer) -> None:
    """Killed, and stopped at once, under a writer that goes on with the same store afterwards."""
    ends: list[Callable[[], None]] = [server.kill, lambda: server.stop(immediately=True)]
    offset = 0
    with open_store(server.url()) as store:
        for end in [*ends, *ends]:
            enough = threading.Event()
            killer = threading.Thread(target=lambda: (enough.wait(60), end()))  # noqa: B023
            killer.start()
            reported = committed_until_it_breaks(store, offset, enough)
            killer.join()
            server.start()
            loaded = store.load(0)
            assert loaded is not None
            # The last commit may have been stored although its writer never heard of it.
            assert loaded.next_offset in (reported, reported + 10)
            offset = loaded.next_offset
            assert_whole(store, offset)
    assert offset >= 10 * COMMITS_A_LIFE * len(ends) * 2


# --- TLS ------------------------------------------------------------------------------------------


def test_tls_with_a_checked_certificate(server: PostgresServer, tmp_path: Path) -> None:
    authority, other = Authority(tmp_path), Authority(tmp_path, "other")
    issued = authority.issue("server")
    server.demand_tls(issued.certificate.read_bytes(), issued.key.read_bytes())
    with psycopg.connect(server.url(), autocommit=True) as connection:
        connection.execute("CREATE DATABASE billing")
    url = f"{server.url('billing')}?sslmode=verify-full&sslrootcert={authority.certificate}"
    with open_store(url) as store:
        store.commit(stored.commit(charges=stored.charges(stored.charge())))
        assert store.url.endswith(
            f"/billing?sslmode=verify-full&sslrootcert={authority.certificate}"
        )
    with psycopg.connect(url) as connection:
        row = connection.execute("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
        assert row.fetchone() == (True,)
    with pytest.raises(StoreError, match=r"refuses the connection.*certificate"):
        open_store(url.replace(str(authority.certificate), str(other.certificate)))
