"""Rules that no piece can ever reach, because of their own conditions or of the rules before them.

Each condition of a rule is a set of names; an absent one is None, which stands for all names, those
that the book does not know too. A rule is reported only where it is certain: time bands are told
apart by their names alone, and earlier rules are taken singly, or together where each falls short
in the same one condition.

A book may have a rule for every title, so the rules before one are looked up by the names that its
conditions share with theirs, and the search is bounded: past NAMES_SOUGHT_MAX names in one plan, no
more of its rules are reported.
Source: spec section 4, steps 2 and 4.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from tariffs.errors import quote
from tariffs.model import region_parents

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from tariffs.model import Rule

TAKERS_SHOWN_MAX = 3
NAMES_INDEXED_MAX = 32  # A rule with more names in a condition is not looked up by that one.
NAMES_SOUGHT_MAX = 2_000_000
NOTHING_HELD = "its `package` holds no content"
CONTENT = 4  # place of the content in a _Reach, after kind, quality, band and region

_Names = frozenset[str] | None
_Reach = tuple[_Names, ...]
"""What each condition of a rule lets through."""


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
    included = sets.held(tuple(name for name in includes if name in packages))
    found = []
    earlier = _Earlier()
    for place, rule in enumerate(rules):
        if not trusted[place]:
            continue
        reach = sets.reach(rule)
        content = reach[CONTENT]
        left = (*reach[:CONTENT], sets.without(content, included))
        if content is not None and not content:
            what = "none of its `content` is in its `package`" if rule.content else NOTHING_HELD
            found.append((place, what, "change the rule or the package"))
        elif left[CONTENT] is not None and not left[CONTENT]:
            what = "it prices nothing: all its contents are in packages that the plan includes"
            found.append((place, what, "take the rule out, or the package out of `includes`"))
        elif takers := earlier.takers(left):
            listing = _listing([rules[taker].id for taker in takers])
            what = f"no piece reaches it: {listing} them all"
            found.append((place, what, "move it up, narrow what is before it, or take it out"))
        else:  # One that prices nothing takes nothing that those before it do not.
            earlier.add(place, reach)
    return found


class _Sets:
    """The names that rules let through; what many rules share is made once."""

    def __init__(self, rules: Sequence[Rule], packages: Mapping[str, tuple[str, ...]]) -> None:
        self.packages = packages
        self.regions = _regions_inside(name for rule in rules for name in rule.region or ())
        self._held: dict[tuple[str, ...], frozenset[str]] = {}
        self._without: dict[frozenset[str], frozenset[str]] = {}

    def held(self, names: tuple[str, ...]) -> frozenset[str]:
        """Unite the contents of some packages."""
        if names not in self._held:
            self._held[names] = frozenset().union(*(self.packages[name] for name in names))
        return self._held[names]

    def without(self, contents: _Names, included: frozenset[str]) -> _Names:
        """Take what the plan includes out of some contents."""
        if contents is None or not included:
            return contents
        if contents not in self._without:
            self._without[contents] = contents - included
        return self._without[contents]

    def reach(self, rule: Rule) -> _Reach:
        """Work out what a rule's conditions let through."""
        contents = None if rule.content is None else frozenset(rule.content)
        if rule.package is not None:
            inside = self.held(rule.package)
            contents = inside if contents is None else contents & inside
        regions = None
        if rule.region is not None:
            regions = frozenset().union(*(self.regions[name] for name in rule.region))
        return (_names(rule.kind), _names(rule.quality), _names(rule.band), regions, contents)


def _names(condition: tuple[str, ...] | None) -> _Names:
    return None if condition is None else frozenset(condition)


def _regions_inside(names: Iterable[str]) -> dict[str, set[str]]:
    """For each region itself and all named regions inside it."""
    inside = {name: {name} for name in names}
    for name in inside:
        for parent in region_parents(name):
            if parent in inside:
                inside[parent].add(name)
    return inside


class _Group:
    """Earlier rules that leave the same conditions open, found by the names in the others."""

    def __init__(self) -> None:
        self.all: list[int] = []
        self.many: dict[int, list[int]] = defaultdict(list)  # by condition: not indexed by it
        self.having: dict[tuple[int, str], list[int]] = defaultdict(list)

    def add(self, place: int, reach: _Reach) -> None:
        """Add a rule."""
        self.all.append(place)
        for condition, names in enumerate(reach):
            if names is not None and len(names) <= NAMES_INDEXED_MAX:
                for name in names:
                    self.having[condition, name].append(place)
            elif names is not None:
                self.many[condition].append(place)

    def candidates(self, left: _Reach, conditions: Iterable[int]) -> list[int]:
        """Give the rules that share a name with `left` in one of its conditions: the rarest."""
        fewest = self.all
        for condition in conditions:
            names = left[condition] or ()
            if len(names) <= NAMES_INDEXED_MAX:
                lists = [
                    self.having[condition, name]
                    for name in names
                    if (condition, name) in self.having
                ]
                if len(self.many[condition]) + sum(map(len, lists)) < len(fewest):
                    fewest = self.many[condition] + [place for each in lists for place in each]
        return fewest


class _Earlier:
    """The rules before one, grouped by which conditions they have."""

    def __init__(self) -> None:
        self.groups: dict[tuple[int, ...], _Group] = {}
        self.reaches: dict[int, _Reach] = {}
        self.names_left = NAMES_SOUGHT_MAX

    def add(self, place: int, reach: _Reach) -> None:
        """Add a rule."""
        had = tuple(condition for condition, names in enumerate(reach) if names is not None)
        self.groups.setdefault(had, _Group()).add(place, reach)
        self.reaches[place] = reach

    def takers(self, left: _Reach) -> list[int]:
        """Find the rules that take all that one could match; none where something is left.

        Only rules that are open wherever `left` is, and share a name with it wherever they are not,
        can have a part in that.
        """
        candidates = {
            place
            for had, group in self.groups.items()
            if all(left[condition] is not None for condition in had)
            for place in group.candidates(left, had)
        }
        together: list[list[int]] = [[] for _ in left]
        rest: list[set[str] | None] = [None for _ in left]
        for place in sorted(candidates):
            failing = self._failing(left, self.reaches[place])
            if failing is None:
                continue
            if failing < 0:
                return [place]
            wanted, taken = left[failing], self.reaches[place][failing]
            assert wanted is not None, "an open condition fails in nothing"
            assert taken is not None, "an open condition takes all"
            still = rest[failing]
            still = rest[failing] = set(wanted) if still is None else still
            if not still.isdisjoint(taken):
                still -= taken
                together[failing].append(place)
                if not still:
                    return together[failing]
        return []

    def _failing(self, left: _Reach, taken: _Reach) -> int | None:
        """Find the one condition in which a rule takes less; -1: none; None: more than one."""
        failing = -1
        for condition, (wanted, names) in enumerate(zip(left, taken, strict=True)):
            if wanted is None or names is None:
                continue  # Such rules are open where `left` is.
            # More names are never within fewer, and to see that needs no look at them.
            self.names_left -= len(wanted) if len(wanted) <= len(names) else 1
            if self.names_left < 0:
                return None
            if not wanted <= names:
                if failing >= 0:
                    return None
                failing = condition
        return failing


def _listing(names: Sequence[str]) -> str:
    shown = [quote(name) for name in names[:TAKERS_SHOWN_MAX]]
    if len(names) > TAKERS_SHOWN_MAX:
        shown.append(f"{len(names) - TAKERS_SHOWN_MAX} more")
    if len(shown) == 1:
        return f"the rule {shown[0]} before it takes"
    return f"the rules {', '.join(shown[:-1])} and {shown[-1]} before it take"
