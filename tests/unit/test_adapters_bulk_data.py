"""Reports of set-top boxes in the four forms of bulk data."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.adapters.audience import counter_deltas
from ingest.adapters.bulk_data import BulkReading, Owner, device_of, read
from ingest.adapters.mapped_json import load_json_mapping
from ingest.json_exact import MalformedError

EXAMPLE = Path(__file__).parents[2] / "examples/mappings/tr135-events.toml"
MAPPING = load_json_mapping(EXAMPLE.read_text(encoding="utf-8"), EXAMPLE.name)
QUERY = "oui=00256D&pc=Z&sn=Y"  # the identity in the standard's own example
BOX = "00256D-Z-Y"
STREAM = "Device.Services.STBService.1.ServiceMonitoring.MainStream.1"
STATS = "Device.Services.STBService.1.Applications.AudienceStats"
AT = 1_364_529_149


def entry(number: int, sequence: int, type_: str, second: int, **more: str) -> dict[str, Any]:
    at = f"{STREAM}.EventLog.Entry.{number}"
    found: dict[str, Any] = {
        f"{at}.SequenceNumber": sequence,
        f"{at}.Type": type_,
        f"{at}.Time": f"2013-03-29T03:52:{second:02}Z",
    }
    for place, (name, value) in enumerate(more.items(), 1):
        found[f"{at}.Parameter.{place}.Name"] = name
        found[f"{at}.Parameter.{place}.Value"] = value
    return found


def report(*entries: dict[str, Any], time: Any = AT, **more: Any) -> dict[str, Any]:
    whole: dict[str, Any] = {"CollectionTime": time}
    whole |= {f"{STREAM}.ServiceType": "IPTV", f"{STREAM}.SessionId": "uuid-1"}
    for one in entries:
        whole |= one
    return whole | more


EVENTS = [
    entry(1, 7, "start session", 5, Channel="ch-1"),
    entry(2, 8, "channel change", 20, Channel="ch-2", Definition="hd"),
    entry(3, 9, "stop session", 50, Channel="ch-2"),
]


def nested(flat: dict[str, Any]) -> dict[str, Any]:
    whole: dict[str, Any] = {}
    for path, value in flat.items():
        *way, last = path.split(".")
        inner = whole
        for step in way:
            inner = inner.setdefault(step, {})
        inner[last] = value
    return whole


def as_csv(rows: list[list[Any]], **dialect: Any) -> bytes:
    out = io.StringIO()
    csv.writer(out, **dialect).writerows(rows)
    return out.getvalue().encode()


def sent(reports: list[dict[str, Any]], form: str) -> BulkReading:
    if form == "NameValuePair":
        body = json.dumps({"Report": reports}).encode()
    elif form == "ObjectHierarchy":
        body = json.dumps({"Report": [nested(one) for one in reports]}).encode()
    elif form == "ParameterPerRow":
        rows = [["ReportTimestamp", "ParameterName", "ParameterValue", "ParameterType"]]
        for one in reports:
            time = one["CollectionTime"]
            rows += [[time, n, v, "string"] for n, v in one.items() if n != "CollectionTime"]
        body = as_csv(rows)
    else:
        names = list(dict.fromkeys(name for one in reports for name in one))
        header = ["ReportTimestamp" if name == "CollectionTime" else name for name in names]
        body = as_csv([header, *([one.get(name, "") for name in names] for one in reports)])
    kind = "text/csv" if form.startswith("Parameter") else "application/json; charset=utf-8"
    headers = [("BBF-Report-Format", f'"{form}"'), ("Content-Type", kind)]
    return read(QUERY, headers, body, MAPPING, Owner("acc-1"))


FORMS = ["NameValuePair", "ObjectHierarchy", "ParameterPerRow", "ParameterPerColumn"]


@pytest.mark.parametrize("form", FORMS)
def test_an_event_log_becomes_views(form: str) -> None:
    found = sent([report(*EVENTS)], form)
    assert found.reading.suspended.to_dicts() == []
    usage = found.reading.usage
    assert usage.select("time", "content", "state", "quality").rows() == [
        (1_364_529_125_000, "ch-1", "playing", None),
        (1_364_529_140_000, "ch-2", "playing", "hd"),
        (1_364_529_170_000, "ch-2", "stopped", None),
    ]
    assert set(usage["account"]) == {"acc-1"}
    assert set(usage["device"]) == {BOX}
    assert set(usage["session"]) == {"uuid-1"}
    assert set(usage["kind"]) == {"channel"}


@pytest.mark.parametrize("form", FORMS)
def test_retained_reports_repeat_the_log_and_come_in_order(form: str) -> None:
    reports = [report(EVENTS[0], EVENTS[1]), report(*EVENTS, time=AT + 300)]
    usage = sent(reports, form).reading.usage
    assert usage["content"].to_list() == ["ch-1", "ch-2", "ch-2"]


def test_a_sequence_number_may_begin_again() -> None:
    last = 2**32 - 1
    log = [
        entry(1, 1, "stop session", 50, Channel="c"),
        entry(2, last, "alive", 20, Channel="b"),
        entry(3, last - 1, "alive", 10, Channel="a"),
        entry(4, 0, "alive", 30, Channel="c"),
    ]
    usage = sent([report(*log)], "NameValuePair").reading.usage
    assert usage["time"].is_sorted()
    assert usage["content"].to_list() == ["a", "b", "c", "c"]


def test_a_box_without_an_account_is_unbound() -> None:
    body = json.dumps({"Report": [report(*EVENTS)]}).encode()
    found = read(QUERY, [], body, MAPPING, Owner())
    assert found.reading.usage.height == 0
    assert set(found.reading.suspended["reason"]) == {"unbound"}
    assert found.reading.suspended["time"].to_list()[0] == 1_364_529_125_000
    assert json.loads(found.reading.suspended["raw"][0])["Parameter"] == {"Channel": "ch-1"}


def test_an_account_that_a_box_claims_counts_for_nothing() -> None:
    claiming = entry(1, 1, "alive", 1, Channel="c", account="other")
    assert sent([report(claiming)], "NameValuePair").reading.usage["account"].to_list() == ["acc-1"]


@pytest.mark.parametrize("time", ["0001-01-01T00:00:00Z", "", "soon", None, {}])
def test_an_event_without_a_time_is_suspended(time: Any) -> None:
    broken = entry(1, 1, "alive", 1, Channel="c") | {f"{STREAM}.EventLog.Entry.1.Time": time}
    found = sent([report(broken, EVENTS[1])], "NameValuePair").reading
    assert found.usage.height == 1
    assert "time" in found.suspended["detail"][0]


def test_a_type_that_nobody_mapped_is_suspended_and_a_skipped_one_is_not() -> None:
    log = [entry(1, 1, "teletext", 1), entry(2, 2, "reboot", 2)]
    found = sent([report(*log)], "NameValuePair").reading
    assert found.suspended.height == 1
    assert "none of the [[records]]" in found.suspended["detail"][0]


def counted(time: Any, **seconds: int) -> dict[str, Any]:
    whole: dict[str, Any] = {"CollectionTime": time, f"{STATS}.ResetTime": "2013-01-01T00:00:00Z"}
    for number, (name, duration) in enumerate(seconds.items(), 1):
        whole[f"{STATS}.Channel.{number}.Name"] = name
        whole[f"{STATS}.Channel.{number}.Duration"] = duration
    return whole


@pytest.mark.parametrize("form", FORMS)
def test_audience_counters_are_evidence_by_their_differences(form: str) -> None:
    reports = [counted(AT, a=100, b=5), counted(AT + 300, a=350, b=5), counted(AT + 600, a=40, b=9)]
    found = sent([*reports, reports[2]], form)
    assert found.reading.usage.height == 0
    deltas = counter_deltas(found.counters)
    assert deltas.select("channel", "to_ms", "watched_s", "is_reset").rows() == [
        ("a", (AT + 300) * 1000, 250, False),
        ("a", (AT + 600) * 1000, 40, True),
        ("b", (AT + 300) * 1000, 0, False),
        ("b", (AT + 600) * 1000, 4, False),
    ]
    assert set(deltas["account"]) == {"acc-1"}


def test_a_counter_that_was_reset_and_passed_its_old_value_is_found_by_its_reset_time() -> None:
    later = counted(AT + 300, a=500) | {f"{STATS}.ResetTime": "2013-03-29T03:50:00Z"}
    deltas = counter_deltas(sent([counted(AT, a=100), later], "NameValuePair").counters)
    assert deltas.select("watched_s", "is_reset").rows() == [(500, True)]


def test_counters_come_in_iso_times_too_and_without_any() -> None:
    reports = [counted("2013-03-29T03:52:29Z", a=1), counted("2013-03-29T03:57:29", a=2)]
    counters = sent([*reports, counted(None, a=3)], "NameValuePair").counters
    assert counters["collected"].to_list() == [AT * 1000, (AT + 300) * 1000, None]
    assert counter_deltas(counters)["watched_s"].to_list() == [1]


def test_a_counter_that_is_none_is_suspended() -> None:
    found = sent([counted(AT, a=-1, b=2)], "NameValuePair")
    assert found.counters["channel"].to_list() == ["b"]
    assert "audience counter" in found.reading.suspended["detail"][0]


@pytest.mark.parametrize("query", ["", "oui=1&pc=2", "oui=&pc=1&sn=2", "eid=", "eid=no-colon"])
def test_a_request_without_an_identity_is_suspended(query: str) -> None:
    with pytest.raises(MalformedError, match="which box"):
        device_of(query)
    found = read(query, [], b"{}", MAPPING, Owner()).reading
    assert found.suspended["raw"].to_list() == [b"{}"]


def test_identities_never_meet() -> None:
    assert device_of("oui=1&pc=a-b&sn=c") != device_of("oui=1&pc=a&sn=b-c")
    assert device_of("?oui=00256D&pc=A%20B&sn=%C3%A9") == "00256D-A%20B-%C3%A9"
    assert device_of("oui=00256D&pc=&sn=Y") == device_of("oui=00256D&sn=Y") == "00256D--Y"
    assert device_of("eid=os::000256:asdfa99384") == "os::000256:asdfa99384"
    assert device_of(f"{QUERY}&eid=os::000256:asdf") == BOX


@pytest.mark.parametrize(
    ("body", "kind", "said"),
    [
        (b"not json", "application/json", "not JSON"),
        (b"[]", "application/json", "Report"),
        (b'{"Report":[1]}', "application/json", "Report"),
        (b"", "text/csv", "empty"),
        (b'a,"b\n', "text/csv", "CSV"),
        (b"ReportTimestamp,a\n1\n", "text/csv", "row 2"),
        (b"ReportTimestamp||a||b\n1||2||3\n", "text/csv", "FieldSeparator"),
        (b"ReportTimestamp,a,b\n", "text/csv", "no row"),
        (b'{"Report":[{"a\\ud800":1}]}', "application/json", "surrogate"),
        (b"\xff", "text/csv", "UTF-8"),
    ],
)
def test_a_broken_body_is_suspended_whole(body: bytes, kind: str, said: str) -> None:
    found = read(QUERY, [("content-type", kind)], body, MAPPING, Owner("acc-1")).reading
    (row,) = found.suspended.to_dicts()
    assert (row["raw"], row["account"]) == (body, "acc-1")
    assert said in row["detail"]


# --- what boxes make of the standard ---------------------------------------------------------------

EXPECTED = [("ch-1", "playing"), ("ch-2", "playing"), ("ch-2", "stopped")]


def watched_in(body: bytes, kind: str = "application/json", form: str = "") -> BulkReading:
    headers = [("content-type", kind), ("bbf-report-format", form)]
    found = read(QUERY, headers, body, MAPPING, Owner("acc-1"))
    assert found.reading.suspended.to_dicts() == []
    assert found.reading.usage.select("content", "state").rows() == EXPECTED
    return found


def rows_of(form: str) -> list[list[Any]]:
    values = report(*EVENTS) | {"Device.DeviceInfo.UpTime": 5}
    time = values.pop("CollectionTime")
    if form == "ParameterPerColumn":
        return [["ReportTimestamp", *values], [time, *values.values()]]
    header = ["ReportTimestamp", "ParameterName", "ParameterValue", "ParameterType"]
    return [header, *([time, name, value, "string"] for name, value in values.items())]


SEPARATORS = [
    (field, row)
    for field in (",", ";", "\t", "|", " ", "^")
    for row in ("\r\n", "\n", "\r", "|", ";", "|\r\n", "##")
    if field != row[:1]
]


@pytest.mark.parametrize(("field", "row"), SEPARATORS)
@pytest.mark.parametrize("quotes", ["", '"', "'"])
@pytest.mark.parametrize("form", FORMS[2:])
def test_csv_has_any_separators(field: str, row: str, quotes: str, form: str) -> None:
    quoting: Any = csv.QUOTE_ALL if quotes else csv.QUOTE_MINIMAL
    body = as_csv(
        rows_of(form),
        delimiter=field,
        lineterminator=row,
        quoting=quoting,
        quotechar=quotes or '"',
    )
    watched_in(body, "text/csv", form)
    watched_in(body, "text/csv")  # told apart without the header of the request


@pytest.mark.parametrize("row", ["\r\n", "|"])
def test_separators_inside_of_quotes_part_nothing(row: str) -> None:
    log = [entry(1, 7, "alive", 5, Channel="a;b|c, d'e")]
    header, values = ["ReportTimestamp", *report(*log)][:1], report(*log)
    time = values.pop("CollectionTime")
    rows = [[*header, *values], [time, *values.values()]]
    body = as_csv(rows, delimiter=";", lineterminator=row, quoting=csv.QUOTE_ALL)
    found = read(QUERY, [("content-type", "text/csv")], body, MAPPING, Owner("acc-1")).reading
    assert found.usage["content"].to_list() == ["a;b|c, d'e"]


@pytest.mark.parametrize(
    ("own", "ours"),
    [
        ("Entry.[cpe-{}].", "Entry.{}."),
        ("Entry.[a.b {}].", "Entry.{}."),
        ("Entry.e{}.", "Entry.{}."),
        ("MainStream.[main].", "MainStream.1."),
        ("Parameter.[x].", "Parameter.1."),
        ("TV.", "Device.Services.STBService.1.ServiceMonitoring.MainStream.1."),
    ],
)
@pytest.mark.parametrize("form", ["NameValuePair", "ParameterPerRow"])
def test_instances_have_numbers_aliases_or_names(own: str, ours: str, form: str) -> None:
    values = report(*EVENTS)
    for n in (1, 2, 3):
        values = {name.replace(ours.format(n), own.format(n)): v for name, v in values.items()}
    found = sent([values], form).reading
    assert found.usage.select("content", "state").rows() == EXPECTED


def test_objects_may_have_letters_for_instances() -> None:
    text = json.dumps({"Report": [nested(report(*EVENTS))]})
    for n, letter in enumerate("abc", 1):
        text = text.replace(f'"{n}": {{"SequenceNumber"', f'"{letter}": {{"SequenceNumber"')
    assert '"a": {"SequenceNumber"' in text
    watched_in(text.encode())


def test_names_of_the_boxs_own_are_read_by_the_mapping() -> None:
    named = {
        name.replace(f"{STREAM}.EventLog.Entry", "Ev"): v for name, v in report(*EVENTS).items()
    }
    body = json.dumps({"Report": [named]}).encode()
    found = read(QUERY, [], body, MAPPING, Owner("acc-1")).reading
    assert found.usage.height == 0
    (row,) = found.suspended.to_dicts()
    assert (row["reason"], row["time"], row["account"]) == ("malformed", AT * 1000, "acc-1")
    assert "EventLog.Entry.{i}.NAME" in row["detail"]
    assert "[names]" in row["detail"]
    assert json.loads(row["raw"]) == named
    for target in (f"{STREAM}.EventLog.Entry", f"{STREAM}.EventLog.Entry.*"):
        names = EXAMPLE.read_text(encoding="utf-8") + f'\n[names]\nEv = "{target}"\n'
        reading = read(QUERY, [], body, load_json_mapping(names), Owner("acc-1")).reading
        assert reading.usage.select("content", "state").rows() == EXPECTED


@pytest.mark.parametrize("form", FORMS)
def test_a_report_of_which_nothing_was_understood_is_suspended(form: str) -> None:
    strange = {"CollectionTime": AT, "Device.WiFi.SSID.1.Name": "x"}
    found = sent([report(*EVENTS), strange, strange], form).reading
    assert found.usage.height == 3
    # Rows of one time and another name go on with the report before them.
    assert found.suspended.height == (1 if form == "ParameterPerRow" else 2)
    for empty in ({"CollectionTime": AT}, report()):  # no parameter; streams whose logs are empty
        assert sent([empty], "NameValuePair").reading.suspended.height == 0


@pytest.mark.parametrize("zone", ["+0000", "+00:00", "Z", "", "+00", "-0000"])
def test_a_zone_is_written_in_many_ways(zone: str) -> None:
    values = {
        name: value.replace("Z", zone) if name.endswith(".Time") else value
        for name, value in report(*EVENTS).items()
    }
    found = sent([values], "NameValuePair").reading
    assert found.usage["time"].to_list()[0] == 1_364_529_125_000
    assert found.usage.height == 3


def test_counters_have_aliases() -> None:
    counters = sent(
        [
            {
                "CollectionTime": AT,
                f"{STATS}.Channel.[ch1].Duration": 7,
                f"{STATS}.Channel.[x].Name": "ch2",
                f"{STATS}.Channel.[x].Duration": 8,
            }
        ],
        "NameValuePair",
    ).counters
    assert counters.select("channel", "duration_s").rows() == [("ch1", 7), ("ch2", 8)]


VALUES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5)
)


@given(
    st.dictionaries(
        st.sampled_from(sorted(EVENTS[1])) | st.sampled_from(sorted(counted(1, a=1))), VALUES
    ),
    st.sampled_from(FORMS),
)
def test_any_report_ends_as_rows_counters_or_suspended(change: dict[str, Any], form: str) -> None:
    changed = {
        name: value.replace("\r", "").replace("\0", "") if isinstance(value, str) else value
        for name, value in change.items()
    }
    found = sent([report(*EVENTS) | {"CollectionTime": AT} | changed], form)
    assert found.reading.usage.height + found.reading.suspended.height >= 2


@given(st.binary(max_size=40), st.sampled_from(["application/json", "text/csv"]))
def test_bytes_of_any_kind_never_raise(body: bytes, kind: str) -> None:
    found = read(QUERY, [("content-type", kind)], body, MAPPING, Owner("acc-1"))
    assert isinstance(found.counters, pl.DataFrame)
