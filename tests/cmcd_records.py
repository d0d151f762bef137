"""The records of the CMCD standard's section 8, with the section that each is in."""

from __future__ import annotations

from pathlib import Path

VECTORS = Path(__file__).parent / "vectors" / "cmcd"
STANDARD = [
    (section, text)
    for section, _, text in (
        line.partition("\t") for line in (VECTORS / "standard.txt").read_text("utf-8").splitlines()
    )
]
