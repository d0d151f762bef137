"""One log as a stream of decompressed blocks, whatever it is stored as.

A file is taken as compressed if its name or its first bytes say so. Concatenated gzip members and
Zstandard frames follow one another as one stream.
"""

from __future__ import annotations

import itertools
import zlib
from typing import TYPE_CHECKING, Protocol

import zstandard

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

STANDARD_INPUT = "-"
BLOCK_BYTES = 256 * 2**10  # stays in a core's cache while it is digested and counted
COMPRESSED_BLOCK_BYTES = 16 * 2**10  # bounds what one block can become
GZIP_MAGIC = b"\x1f\x8b"
ZSTANDARD_MAGIC = b"\x28\xb5\x2f\xfd"
SKIPPABLE_MAGIC = b"\x2a\x4d\x18"  # after one byte from 0x50 to 0x5f: a frame without content


class ReadError(Exception):
    """A stream cannot be read on from here."""

    def __init__(self, why: str, mend: str) -> None:
        super().__init__(f"{why}; {mend}")
        self.why = why
        self.mend = mend


class IncompleteError(ReadError):
    """Compressed content ends in its middle: it is still being written, or was cut off."""


class Member(Protocol):
    """A decompressor of one gzip member or one Zstandard frame."""

    @property
    def eof(self) -> bool:
        """Whether the member has ended."""

    @property
    def unused_data(self) -> bytes:
        """What came after the member's end."""

    def decompress(self, data: bytes, /) -> bytes:
        """All that a block of compressed bytes becomes."""


class Stream:
    """A file, or standard input ("-"), open for reading.

    bytes_read: how many of its bytes were read so far, as they are stored.
    Raises: OSError if it cannot be opened.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.bytes_read = 0
        is_file = name != STANDARD_INPUT
        self._file = open(name if is_file else 0, "rb", buffering=0, closefd=is_file)  # noqa: SIM115

    def close(self) -> None:
        """Close the file; standard input stays open."""
        self._file.close()

    def blocks(self) -> Iterator[bytes]:
        """The decompressed content from the start on, in blocks that are never empty.

        Raises: ReadError where it cannot be read on; what was readable has come before.
        """
        stored = self._stored_blocks()
        first = b""
        while len(first) < len(ZSTANDARD_MAGIC) and (block := next(stored, b"")):
            first += block
        stored = itertools.chain([first] if first else [], stored)
        new_member = self._compression(first)
        return decompressed(stored, new_member) if new_member else stored

    def _stored_blocks(self) -> Iterator[bytes]:
        try:
            while block := self._file.read(BLOCK_BYTES):
                self.bytes_read += len(block)
                yield block
        except OSError as error:
            raise ReadError(
                f"the system cannot read it ({error.strerror})", "mend that and run again"
            ) from error

    def _compression(self, first: bytes) -> Callable[[], Member] | None:
        if self.name.endswith(".gz") or first.startswith(GZIP_MAGIC):
            return gzip_member
        is_skippable = first[1:4] == SKIPPABLE_MAGIC and first[0] & 0xF0 == 0x50
        if self.name.endswith(".zst") or first.startswith(ZSTANDARD_MAGIC) or is_skippable:
            return zstandard_frame
        return None


def gzip_member() -> Member:
    """A decompressor of gzip, which checks the sum at the member's end."""
    return zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)


def zstandard_frame() -> Member:
    """A decompressor of Zstandard."""
    return zstandard.ZstdDecompressor().decompressobj()


def decompressed(stored: Iterator[bytes], new_member: Callable[[], Member]) -> Iterator[bytes]:
    """Decompress member after member.

    Raises: ReadError where the compressed content is damaged or ends too early.
    """
    member: Member | None = new_member()
    is_empty = True
    for block in stored:
        is_empty = False
        for at in range(0, len(block), COMPRESSED_BLOCK_BYTES):
            left = block[at : at + COMPRESSED_BLOCK_BYTES]
            while left:
                if member is None:
                    # Zeros may follow a gzip member, where a tape or a disk is filled up.
                    left = left.lstrip(b"\0") if new_member is gzip_member else left
                    if not left:
                        break
                    member = new_member()
                content, left, member = decompress(member, left)
                if content:
                    yield content
    if member is not None and not is_empty:
        raise IncompleteError(
            "it ends in the middle of its compressed content",
            "wait until it is written to its end, or restore it, and run again",
        )


def decompress(member: Member, block: bytes) -> tuple[bytes, bytes, Member | None]:
    """The content of a block, what is left behind the member's end, and the member if it goes on.

    Raises: ReadError.
    """
    try:
        content = member.decompress(block)
    except (zlib.error, zstandard.ZstdError) as error:
        if "too much memory" in str(error):
            raise ReadError(
                "it was compressed with a window of more than 128 MiB (zstd --long=28 or more)",
                "compress it again without --long",
            ) from error
        raise ReadError(
            f"its compressed content is damaged ({error})",
            "restore the file from where it came from and run again",
        ) from error
    return (content, member.unused_data, None) if member.eof else (content, b"", member)
