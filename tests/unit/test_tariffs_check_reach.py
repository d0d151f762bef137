"""tariffs/check_reach.py: rules that can price nothing are found, and never a rule that can."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tariffs.check_reach import NAMES_SOUGHT_MAX, _Earlier, _Sets, unreachable_rules
from tariffs.load import BookErrors, load_text
from tariffs.model import Price, Rule, region_parents

PACKAGES = {"basic": ("c1", "c2"), "more": ("c2", "c3"), "copy": ("c1", "c2"), "none": ()}
FREE = Price("flat")


def rule(rule_id: str, **conditions: str) -> Rule:
    """A rule whose conditions are written as words with spaces between."""
    return Rule(
        rule_id, FREE, **{key: tuple(words.split(" ")) for key, words in conditions.items()}
    )  # type: ignore[arg-type]


def whats(rules: list[Rule], includes: tuple[str, ...] = ()) -> dict[str, str]:
    found = unreachable_rules(rules, [True] * len(rules), includes, PACKAGES)
    return {rules[place].id: what for place, what, _ in found}


ALL_TAKEN = 'no piece reaches it: the rule "a" before it takes them all'


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({}, {}),
        ({}, {"kind": "vod", "band": "night"}),
        ({"kind": "channel vod"}, {"kind": "vod"}),
        ({"region": "SE"}, {"region": "SE-AB SE-AB-01 SE"}),
        ({"package": "basic"}, {"content": "c1"}),
        ({"package": "basic more"}, {"package": "copy"}),
        ({"content": "c1 c2 c9"}, {"package": "basic"}),
        ({"content": "c1 c9", "package": "basic"}, {"content": "c1", "kind": "vod"}),
        ({"band": "night day"}, {"band": "day", "quality": "uhd"}),
        ({"quality": ""}, {"quality": "", "region": ""}),
    ],
)
def test_a_rule_that_matches_no_more_than_one_before_it_is_found(
    first: dict[str, str], second: dict[str, str]
) -> None:
    assert whats([rule("a", **first), rule("b", **second)]) == {"b": ALL_TAKEN}


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"kind": "vod"}, {}),
        ({"kind": "channel"}, {"kind": "channel vod"}),
        ({"region": "SE-AB"}, {"region": "SE"}),
        ({"region": "S"}, {"region": "SE"}),
        ({"region": "SE"}, {"region": ""}),
        ({"content": "c1"}, {"package": "basic"}),
        ({"content": "c1", "package": "more"}, {"content": "c1"}),
        ({"band": "night"}, {"band": "evening"}),
        ({"kind": "vod"}, {"quality": "uhd"}),
    ],
)
def test_a_rule_that_matches_more_is_left_alone(
    first: dict[str, str], second: dict[str, str]
) -> None:
    rules = [rule("a", **first), rule("b", **second)]
    assert "b" not in whats(rules)


def test_rules_that_leave_nothing_together_are_named() -> None:
    rules = [
        rule("hd", quality="hd sd"),
        rule("night", quality="uhd", band="night"),
        rule("uhd", quality="uhd 8k"),
        rule("late", quality="hd uhd", kind="vod"),
        rule("rest"),
    ]
    assert whats(rules) == {
        "late": 'no piece reaches it: the rules "hd" and "uhd" before it take them all'
    }


def test_a_rule_for_contents_that_the_plan_includes_is_found() -> None:
    rules = [rule("a", content="c1 c2"), rule("b", content="c1 c9"), rule("c", package="more")]
    included = "it prices nothing: all its contents are in packages that the plan includes"
    assert whats(rules, ("basic",)) == {"a": included}
    assert whats(rules, ("basic", "more")) == {"a": included, "c": included}


def test_what_is_included_does_not_count_as_left_over() -> None:
    rules = [rule("a", content="c3"), rule("b", package="more")]
    assert whats(rules, ("basic",)) == {"b": ALL_TAKEN}


def test_conditions_that_contradict_each_other_are_found() -> None:
    rules = [rule("a", content="c3", package="basic"), rule("b", package="none")]
    assert whats(rules) == {
        "a": "none of its `content` is in its `package`",
        "b": "its `package` holds no content",
    }


def test_a_rule_whose_conditions_are_not_trusted_takes_nothing_and_is_not_judged() -> None:
    rules = [rule("a"), rule("b"), rule("c")]
    found = unreachable_rules(rules, [False, True, False], (), PACKAGES)
    assert found == []


WORDS = {
    "kind": ("channel", "vod"),
    "content": ("c1", "c2", "c3"),
    "package": ("basic", "more", "copy", "none"),
    "quality": ("", "hd"),
    "region": ("", "SE", "SE-AB", "NO"),
    "band": ("night", "day"),
}
CONDITIONS = st.fixed_dictionaries(
    {},
    optional={
        key: st.lists(st.sampled_from(words), min_size=1, max_size=3, unique=True).map(tuple)
        for key, words in WORDS.items()
    },
)
PIECES = list(
    product(
        ("channel", "other"),
        ("c1", "c2", "c3", "other"),
        ("", "hd", "other"),
        ("", "SE", "SE-AB", "SE-AB-1", "NO", "S"),
        ((), ("night",), ("day",), ("night", "day")),
    )
)


def fits(rule: Rule, piece: tuple[str, str, str, str, tuple[str, ...]]) -> bool:
    """Section 3, condition by condition."""
    kind, content, quality, region, bands = piece
    held = [name for name, contents in PACKAGES.items() if content in contents]
    has = {
        "kind": [kind],
        "content": [content],
        "quality": [quality],
        "package": held,
        "region": [region, *region_parents(region)],
        "band": bands,
    }
    conditions = {key: getattr(rule, key) for key in has}
    return all(
        wanted is None or any(word in wanted for word in has[key])
        for key, wanted in conditions.items()
    )


@given(
    st.lists(CONDITIONS, min_size=1, max_size=5),
    st.sets(st.sampled_from(tuple(PACKAGES)), max_size=2),
)
def test_a_rule_that_some_piece_reaches_is_never_reported(
    conditions: list[dict[str, tuple[str, ...]]], includes: set[str]
) -> None:
    rules = [Rule(str(place), FREE, **held) for place, held in enumerate(conditions)]  # type: ignore[arg-type]
    covered = {content for name in includes for content in PACKAGES[name]}
    reached = set()
    for piece in PIECES:
        if piece[1] not in covered:
            first = next((rule.id for rule in rules if fits(rule, piece)), None)
            reached.add(first)
    assert not reached & whats(rules, tuple(includes)).keys()


def test_mistakes_elsewhere_do_not_make_a_rule_unreachable() -> None:
    head = '[book]\nid = "b"\ncurrency = "SEK"\ntimezone = "UTC"\n[[plans]]\nid = "p"\nmode = "prepaid"\n'
    price = 'price = { model = "flat", amount = "1" }\n'
    broad = f'[[plans.rules]]\nid = "broad"\nkind = "vod"\n{price}'
    spoiled = broad.replace('"vod"', '["vod", 1]')
    narrow = f'[[plans.rules]]\nid = "narrow"\nkind = "vod"\nquality = "hd"\n{price}'
    with pytest.raises(BookErrors, match="no piece reaches it"):
        load_text(head + broad + narrow)
    with pytest.raises(BookErrors) as caught:
        load_text(head + spoiled + narrow)
    assert len(caught.value.mistakes) == 1


def test_a_rule_a_title_and_rules_for_all_of_them_are_checked_by_looking_names_up() -> None:
    """Of ten thousand rules none is held against more than the few that share a name with it."""
    titles = [rule(f"t{number}", content=f"t{number}", kind="vod") for number in range(10_000)]
    qualities = [rule(f"q{number}", quality=f"q{number}") for number in range(1_000)]
    earlier = _Earlier()
    sets = _Sets([*titles, *qualities], {})
    for place, each in enumerate([*titles, *qualities]):
        assert earlier.takers(sets.reach(each)) == []
        earlier.add(place, sets.reach(each))
    assert NAMES_SOUGHT_MAX - earlier.names_left < 2 * len(titles)


def test_a_search_that_would_take_too_long_reports_no_more() -> None:
    wide = tuple(f"c{number}" for number in range(1_500))
    rules = [Rule(str(n), FREE, content=(f"x{n}", *wide)) for n in range(200)]
    taken = [Rule("taken", FREE, content=wide), *rules, Rule("late", FREE, content=wide)]
    found = unreachable_rules(taken, [True] * len(taken), (), PACKAGES)
    assert {taken[place].id for place, _, _ in found} <= {"late"}


def test_ten_thousand_contents_and_five_hundred_rules_are_checked() -> None:
    contents = [f"c{number:05d}" for number in range(10_000)]
    packages = {f"p{start}": tuple(contents[start::20]) for start in range(20)}
    rules = [
        Rule(str(place), FREE, content=(f"c{9_999 - place:05d}",), package=None)
        for place in range(499)
    ]
    rules.insert(250, Rule("wide", FREE, package=tuple(packages), quality=("uhd",)))
    rules.append(Rule("hidden", FREE, package=("p7",), quality=("uhd",), kind=("vod",)))
    found = unreachable_rules(rules, [True] * len(rules), ("p0",), packages)
    # Every twentieth content is included in the plan, among them c09980, c09960 … c09520.
    assert [rules[place].id for place, _, _ in found] == [
        *(str(place) for place in range(19, 499, 20)),
        "hidden",
    ]
