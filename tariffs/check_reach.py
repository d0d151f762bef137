"""Rules that no piece can ever reach, because of their own conditions or of the rules before them.

Each condition of a rule is a set of names, held as the bits of an integer; an absent condition is
-1, whose endless bits also stand for all the names that the book does not know. A rule is reported
only where it is certain: time bands are told apart by their names alone, and earlier rules are
taken singly, or together where each falls short in the same one condition.
Source: spec section 4, steps 2 and 4.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tariffs.errors import quote
from tariffs.model import region_parents

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from tariffs.model import Rule

TAKERS_SHOWN_MAX = 3
NOTHING_HELD = "its `package` holds no content"
CONTENT = 4  # place of the content in a _Reach, after kind, quality, band and region

_Reach = tuple[int, ...]


def unreachable_rules(
    rules: Sequence[Rule],
    trusted: Sequence[bool],
    includes: Iterable[str],
    packages: Mapping[str, tuple[str, ...]],
) -> list[tuple[int, str, str]]:
    """Find the rules of a plan that can price nothing.

    trusted: whether a rule's conditions are as its author meant them; others are left out.
    includes: the plan's packages; unknown ones are passed over.
    Returns: the place of each such rule, what is wrong, and how to mend it.
    """
    sets = _Sets(rules, packages)
    included = sets.packages(name for name in includes if name in packages)
    found = []
    earlier: list[tuple[str, _Reach]] = []
    for place, rule in enumerate(rules):
        if not trusted[place]:
            continue
        reach = sets.reach(rule)
        left = (*reach[:CONTENT], reach[CONTENT] & ~included)
        if not reach[CONTENT]:
            what = "none of its `content` is in its `package`" if rule.content else NOTHING_HELD
            found.append((place, what, "change the rule or the package"))
        elif not left[CONTENT]:
            what = "it prices nothing: all its contents are in packages that the plan includes"
            found.append((place, what, "take the rule out, or the package out of `includes`"))
        elif takers := _takers(left, earlier):
            what = f"no piece reaches it: {_listing(takers)} them all"
            found.append((place, what, "move it up, narrow what is before it, or take it out"))
        earlier.append((rule.id, reach))
    return found


class _Sets:
    """The values that a plan's rules name, numbered as bits."""

    def __init__(self, rules: Sequence[Rule], packages: Mapping[str, tuple[str, ...]]) -> None:
        self.kinds = _bits(name for rule in rules for name in rule.kind or ())
        self.qualities = _bits(name for rule in rules for name in rule.quality or ())
        self.bands = _bits(name for rule in rules for name in rule.band or ())
        self.regions = _region_bits(name for rule in rules for name in rule.region or ())
        contents = [name for rule in rules for name in rule.content or ()]
        for held in packages.values():
            contents.extend(held)
        self.contents = _bits(contents)
        self.held = {name: _union(held, self.contents) for name, held in packages.items()}

    def packages(self, names: Iterable[str]) -> int:
        """Unite the contents of some packages."""
        return _union(names, self.held)

    def reach(self, rule: Rule) -> _Reach:
        """Work out what a rule's conditions let through."""
        inside = -1 if rule.package is None else self.packages(rule.package)
        return (
            _union(rule.kind, self.kinds),
            _union(rule.quality, self.qualities),
            _union(rule.band, self.bands),
            _union(rule.region, self.regions),
            _union(rule.content, self.contents) & inside,
        )


def _bits(names: Iterable[str]) -> dict[str, int]:
    """Choose a bit for each name."""
    return {name: 1 << place for place, name in enumerate(dict.fromkeys(names))}


def _region_bits(names: Iterable[str]) -> dict[str, int]:
    """For each region the bits of itself and of all named regions inside it."""
    bits = _bits(names)
    inside = dict(bits)
    for name, bit in bits.items():
        for parent in region_parents(name):
            if parent in inside:
                inside[parent] |= bit
    return inside


def _union(names: Iterable[str] | None, bits: Mapping[str, int]) -> int:
    """Unite the names that a condition lets through."""
    if names is None:
        return -1
    union = 0
    for name in names:
        union |= bits[name]
    return union


def _takers(left: _Reach, earlier: Sequence[tuple[str, _Reach]]) -> list[str]:
    """Find the earlier rules that take all a rule could match; none where something is left."""
    together: list[list[str]] = [[] for _ in left]
    rest = list(left)
    for name, taken in earlier:
        failing = -1
        for place, wanted in enumerate(left):
            if wanted & ~taken[place]:
                if failing >= 0:
                    break
                failing = place
        else:
            if failing < 0:
                return [name]
            if rest[failing] & taken[failing]:
                rest[failing] &= ~taken[failing]
                together[failing].append(name)
                if not rest[failing]:
                    return together[failing]
    return []


def _listing(names: Sequence[str]) -> str:
    shown = [quote(name) for name in names[:TAKERS_SHOWN_MAX]]
    if len(names) > TAKERS_SHOWN_MAX:
        shown.append(f"{len(names) - TAKERS_SHOWN_MAX} more")
    if len(shown) == 1:
        return f"the rule {shown[0]} before it takes"
    return f"the rules {', '.join(shown[:-1])} and {shown[-1]} before it take"
