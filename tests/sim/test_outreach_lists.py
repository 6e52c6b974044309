from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from worker.sim import control, outreach
from worker.sim.outreach import Options

BEARER = {"Authorization": "Bearer sim-access"}


@pytest.fixture
def client() -> Iterator[httpx.Client]:
    """An organisation of 120 people with three tasks known to the second."""
    app = outreach.build(records=120)
    with httpx.Client(transport=httpx.WSGITransport(app), base_url="http://sim.test", headers=BEARER) as opened:
        known = [
            (9001, "2026-03-01T10:00:00.000Z", "2026-03-05T00:00:00.000Z"),
            (9002, "2026-03-01T10:00:00.000Z", None),
            (9003, "2026-03-02T10:00:00.000Z", "2026-03-04T00:00:00.000Z"),
        ]
        edits = [
            {"op": "create", "type": "task", "id": id, "attributes": {"updatedAt": at, "createdAt": at, "dueAt": due}}
            for id, at, due in known
        ]
        assert opened.post("/_sim/edit", json=edits).status_code == 200
        yield opened


def ids(client: httpx.Client, path: str, **parameters: str) -> list[int]:
    """The ids of every page, in order."""
    found: list[int] = []
    answer = client.get(f"/api/v2/{path}", params={"page[size]": "1000", **parameters})
    while True:
        assert answer.status_code == 200, answer.text
        document = answer.json()
        found += [record["id"] for record in document["data"]]
        if "next" not in document["links"]:
            return found
        answer = client.get(document["links"]["next"])


def refused(client: httpx.Client, path: str, **parameters: str) -> str:
    """The words of a 422."""
    answer = client.get(f"/api/v2/{path}", params=parameters)
    assert answer.status_code == 422
    error = answer.json()["errors"][0]
    assert (error["id"], error["title"]) == ("validationError", "Validation Error")
    return str(error["detail"])


MARCH = "2026-03-01..2026-03-03"


def test_a_resource_is_shaped_as_the_vendor_shapes_it(client: httpx.Client) -> None:
    """Integer id, every attribute of the schema, relations with data or links, an absolute link to itself."""
    answer = client.get("/api/v2/sequenceSteps/2")
    assert answer.headers["content-type"] == "application/vnd.api+json"
    record = answer.json()["data"]
    assert (record["type"], record["id"]) == ("sequenceStep", 2)
    assert record["attributes"]["displayName"] == "Step #2 (Call)"
    assert record["attributes"]["bounceCount"] == 0
    assert len(record["attributes"]) == 20
    assert record["relationships"]["sequence"] == {"data": {"type": "sequence", "id": 1}}
    assert record["relationships"]["taskPriority"] == {"data": None}
    assert record["relationships"]["tasks"] == {
        "links": {"related": "http://sim.test/api/v2/tasks?filter%5BsequenceStep%5D%5Bid%5D=2"}
    }
    assert record["links"] == {"self": "http://sim.test/api/v2/sequenceSteps/2"}


def test_pages_are_followed_to_the_end_without_gap_or_repeat(client: httpx.Client) -> None:
    """Whatever the page size, following ``next`` reads everything once, in order."""
    whole = ids(client, "sequenceStates")
    assert whole == sorted(set(whole))
    assert ids(client, "sequenceStates", **{"page[size]": "7"}) == whole
    falling = ids(client, "sequenceStates", sort="-updatedAt", **{"page[size]": "7"})
    assert sorted(falling) == whole
    assert falling == list(reversed(ids(client, "sequenceStates", sort="updatedAt", **{"page[size]": "9"})))


def test_next_keeps_every_parameter_and_prev_leads_back(client: httpx.Client) -> None:
    """``next`` is absolute and carries the original query; ``prev`` of page two is page one."""
    asked = {"page[size]": "10", "sort": "updatedAt", "filter[updatedAt]": "2020-01-01..inf", "count": "false"}
    first = client.get("/api/v2/prospects", params=asked).json()
    assert "prev" not in first["links"]
    link = urlsplit(first["links"]["next"])
    assert f"{link.scheme}://{link.netloc}{link.path}" == "http://sim.test/api/v2/prospects"
    kept = parse_qs(link.query)
    assert {name: kept[name] for name in asked} == {name: [value] for name, value in asked.items()}
    second = client.get(first["links"]["next"]).json()
    assert client.get(second["links"]["prev"]).json()["data"] == first["data"]


def test_duplicate_keys_are_tolerated(client: httpx.Client) -> None:
    """A client that puts its parameters on top of ``next`` once more still gets the second page."""
    parameters = {"page[size]": "10", "sort": "updatedAt", "count": "false"}
    first = client.get("/api/v2/prospects", params=parameters).json()
    again = client.get(httpx.URL(first["links"]["next"]).copy_merge_params(parameters))
    doubled = client.get(f"{first['links']['next']}&page[size]=10&sort=updatedAt&count=false")
    assert doubled.json()["data"] == again.json()["data"] != first["data"]


def test_paging_survives_records_that_move(client: httpx.Client) -> None:
    """A record touched while pages are read shows up again at the end, and none is lost."""
    first = client.get("/api/v2/prospects", params={"page[size]": "10", "sort": "updatedAt"}).json()
    moved = first["data"][0]["id"]
    touched = {"op": "set", "type": "prospect", "id": moved, "attributes": {"title": "Moved"}}
    client.post("/_sim/edit", json=touched)
    rest, link = [], first["links"].get("next")
    while link:
        page = client.get(link).json()
        rest += [record["id"] for record in page["data"]]
        link = page["links"].get("next")
    assert rest[-1] == moved
    assert {record["id"] for record in first["data"]} | set(rest) == set(ids(client, "prospects"))


def test_a_page_has_a_limit(client: httpx.Client) -> None:
    """More than 1,000 a page, nothing, or no number is a 422."""
    assert client.get("/api/v2/prospects", params={"page[size]": "1000"}).status_code == 200
    for wrong in ("1001", "0", "many"):
        assert "page[size]" in refused(client, "prospects", **{"page[size]": wrong})


def test_without_a_page_size_offsets_are_used(client: httpx.Client) -> None:
    """Fifty by default, with ``last``; the offset ends at 10,000."""
    first = client.get("/api/v2/prospects").json()
    assert len(first["data"]) == 50
    assert set(first["links"]) == {"first", "next", "last"}
    assert "page%5Boffset%5D=50" in first["links"]["next"]
    assert first["links"]["last"].endswith("page%5Boffset%5D=100")
    last = client.get(first["links"]["last"]).json()
    assert (len(last["data"]), set(last["links"])) == (8, {"first", "prev", "last"})
    refused(client, "prospects", **{"page[offset]": "10001"})


def test_counting_is_asked_for(client: httpx.Client) -> None:
    """Only ``count=true`` counts, whatever the page size."""
    counted = client.get("/api/v2/prospects", params={"page[size]": "5", "count": "true"}).json()
    assert counted["meta"] == {"count": 108, "count_truncated": False}
    assert client.get("/api/v2/prospects", params={"page[size]": "5"}).json()["meta"] == {"count": None}
    filtered = {"page[size]": "1", "count": "true", "filter[firstName]": "Nobody"}
    assert client.get("/api/v2/prospects", params=filtered).json()["meta"]["count"] == 0


def test_sorting_by_several_attributes(client: httpx.Client) -> None:
    """Each attribute in its own direction, paged just so."""
    wanted = [9003, 9001, 9002]
    assert ids(client, "tasks", sort="-updatedAt,id", **{"filter[updatedAt]": MARCH}) == wanted
    assert ids(client, "tasks", sort="-updatedAt,id", **{"filter[updatedAt]": MARCH, "page[size]": "1"}) == wanted
    assert ids(client, "tasks", sort="updatedAt,-id", **{"filter[updatedAt]": MARCH}) == [9002, 9001, 9003]


def test_only_sortable_attributes_sort(client: httpx.Client) -> None:
    """The schema's flag decides."""
    assert "completedAt" in refused(client, "tasks", sort="completedAt")
    assert "nonsense" in refused(client, "tasks", sort="nonsense")


@pytest.mark.parametrize(
    "value, wanted",
    [
        ("2026-03-01T10:00:00Z..2026-03-02T09:59:59Z", [9001, 9002]),
        ("2026-03-01T10:00:00.000Z..2026-03-02T10:00:00.000Z", [9001, 9002, 9003]),
        ("2026-03-01T10:00:00.001Z..2026-03-03", [9003]),
        ("2026-03-01T12:00:00+02:00..2026-03-01T12:00:00+02:00", [9001, 9002]),
        ("neginf..2026-03-02T10:00:00Z", [9001, 9002, 9003]),
        ("1970-01-01..2026-03-01T10:00:00", [9001, 9002]),
        ("2026-03-02T10:00:00Z", [9003]),
        ("2026-03-02T10:00:00Z,2026-03-01T10:00:00Z", [9001, 9002, 9003]),
    ],
)
@pytest.mark.parametrize("sort", ["updatedAt", "id", "updatedAt,id"])
def test_ranges_include_their_bounds(client: httpx.Client, value: str, wanted: list[int], sort: str) -> None:
    """Every way of writing a range, found the same whatever the order."""
    assert ids(client, "tasks", sort=sort, **{"filter[updatedAt]": value}) == wanted


def test_an_open_range_reaches_to_the_end(client: httpx.Client) -> None:
    """``X..inf`` finds everything from X on and nothing without a value."""
    everything = ids(client, "tasks")
    assert ids(client, "tasks", **{"filter[updatedAt]": "2026-03-01T10:00:00Z..inf"}) == everything
    assert 9002 not in ids(client, "tasks", **{"filter[dueAt]": "neginf..inf"}, sort="dueAt")
    assert 9002 not in ids(client, "tasks", **{"filter[dueAt]": "neginf..inf"})


def test_null_can_be_asked_for(client: httpx.Client) -> None:
    """``__null__`` and ``__notnull__`` part the records."""
    assert ids(client, "tasks", **{"filter[dueAt]": "__null__"}) == [9002]
    with_date = ids(client, "tasks", **{"filter[dueAt]": "__notnull__"})
    assert sorted([*with_date, 9002]) == ids(client, "tasks")


def test_the_new_syntax_takes_values_as_they_are(client: httpx.Client) -> None:
    """Lists, bounds and texts with commas or dots are written in brackets."""
    name = {"op": "set", "type": "prospect", "id": 1, "attributes": {"firstName": "A..b, c"}, "touch": False}
    prospect = ids(client, "prospects")[0]
    client.post("/_sim/edit", json={**name, "id": prospect})
    new = {"newFilterSyntax": "true"}
    assert ids(client, "prospects", **new, **{"filter[firstName]": "A..b, c"}) == [prospect]
    assert ids(client, "prospects", **{"filter[firstName]": "A..b, c"}) != [prospect]
    bounds = {"filter[updatedAt][gte]": "2026-03-01T10:00:00Z", "filter[updatedAt][lt]": "2026-03-02T10:00:00Z"}
    assert ids(client, "tasks", **new, **bounds) == [9001, 9002]
    assert ids(client, "tasks", **new, **{"filter[updatedAt]": "2026-03-02..2026-03-03"}) == [9003]
    listed = client.get("/api/v2/tasks?newFilterSyntax=true&page[size]=1&filter[id][]=9001&filter[id][]=9003").json()
    assert [record["id"] for record in listed["data"]] == [9001]
    assert [record["id"] for record in client.get(listed["links"]["next"]).json()["data"]] == [9003]


def test_ids_can_always_be_filtered(client: httpx.Client) -> None:
    """Those that do not exist are simply not there."""
    assert ids(client, "tasks", **{"filter[id]": "9003,9001,123456"}) == [9001, 9003]
    assert ids(client, "tasks", **{"filter[id]": "9002..9003"}) == [9002, 9003]


def test_addresses_are_found_regardless_of_case(client: httpx.Client) -> None:
    """``filter[emails]`` takes a list and looks at every address of a prospect."""
    known = ids(client, "prospects")[:2]
    for number, prospect in enumerate(known):
        emails = [f"first{number}@one.example", f"second{number}@two.example"]
        client.post(
            "/_sim/edit", json={"op": "set", "type": "prospect", "id": prospect, "attributes": {"emails": emails}}
        )
    assert (
        ids(client, "prospects", **{"filter[emails]": "SECOND0@two.example,first1@one.example,no@one.example"}) == known
    )


def test_relations_filter_as_the_schema_allows(client: httpx.Client) -> None:
    """By id everywhere, by any filterable attribute of a state's sequence and step, by e-mail of its prospect."""
    some = client.get("/api/v2/sequenceStates", params={"page[size]": "1"}).json()["data"][0]
    prospect = some["relationships"]["prospect"]["data"]["id"]
    address = client.get(f"/api/v2/prospects/{prospect}").json()["data"]["attributes"]["emails"][0]
    of_prospect = ids(client, "sequenceStates", **{"filter[prospect][id]": str(prospect)})
    assert some["id"] in of_prospect
    assert ids(client, "sequenceStates", **{"filter[prospect][emails]": address}) == of_prospect
    by_id = ids(client, "sequenceStates", **{"filter[sequence][id]": "1"})
    assert by_id == ids(client, "sequenceStates", **{"filter[sequence][name]": "Cold outreach"})
    assert set(by_id) >= set(
        ids(client, "sequenceStates", **{"filter[sequenceStep][order]": "1", "filter[sequence][id]": "1"})
    )
    active = ids(client, "prospects", **{"filter[sequenceStates][state]": "active"})
    assert 0 < len(active) < len(ids(client, "prospects"))
    assert len(ids(client, "tasks", **{"filter[completer][id]": "__null__"})) > 0


@pytest.mark.parametrize(
    "path, name",
    [
        ("prospects", "filter[externalId]"),
        ("prospects", "filter[optedOut]"),
        ("prospects", "filter[creator][id]"),
        ("tasks", "filter[completed]"),
        ("sequences", "filter[enabled]"),
        ("sequenceStates", "filter[nonsense]"),
        ("tasks", "filter[sequence][name]"),
    ],
)
def test_what_is_not_filterable_is_refused(client: httpx.Client, path: str, name: str) -> None:
    """The schema's flag and the relation table decide."""
    refused(client, path, **{name: "1"})


def test_a_value_of_the_wrong_kind_is_refused(client: httpx.Client) -> None:
    """A number or a date that is none is a 422."""
    refused(client, "tasks", **{"filter[updatedAt]": "yesterday"})
    refused(client, "tasks", **{"filter[id]": "abc"})


def test_a_fieldset_drops_everything_else(client: httpx.Client) -> None:
    """Attributes and relations share one list; another type's fields stay whole."""
    asked = {"fields[sequenceState]": "state,sequence", "include": "sequence,prospect", "fields[prospect]": "title"}
    document = client.get("/api/v2/sequenceStates", params={"page[size]": "1", **asked}).json()
    record = document["data"][0]
    assert set(record["attributes"]) == {"state"}
    assert set(record["relationships"]) == {"sequence"}
    included: dict[str, Any] = {one["type"]: one for one in document["included"]}
    assert set(included["prospect"]["attributes"]) == {"title"}
    assert len(included["sequence"]["attributes"]) == 41


def test_include_goes_deep_and_adds_each_once(client: httpx.Client) -> None:
    """Nested paths bring every step of the way, and no resource twice."""
    asked = {"page[size]": "50", "include": "sequenceStep.sequence,prospect.owner"}
    included = client.get("/api/v2/sequenceStates", params=asked).json()["included"]
    told = [(one["type"], one["id"]) for one in included]
    assert len(told) == len(set(told))
    assert {type_ for type_, _ in told} == {"sequenceStep", "sequence", "prospect", "user"}
    many = client.get("/api/v2/sequences/1", params={"include": "sequenceSteps"}).json()
    assert [(one["type"], one["id"]) for one in many["included"]] == [("sequenceStep", n) for n in (1, 2, 3)]
    refused(client, "sequenceStates", include="nonsense")


def test_what_is_not_there_is_a_404(client: httpx.Client) -> None:
    """A record and a route that do not exist are told apart."""
    gone = client.get("/api/v2/prospects/999999")
    assert gone.status_code == 404
    assert gone.json()["errors"][0] == {
        "id": "resourceNotFound",
        "title": "Resource Not Found",
        "detail": "Could not find 'prospect' with ID '999999'.",
    }
    for method, path in (
        ("GET", "/api/v2/unicorns"),
        ("PATCH", "/api/v2/sequenceStates/1"),
        ("DELETE", "/api/v2/sequenceSteps/1"),
    ):
        assert client.request(method, path).json()["errors"][0]["id"] == "routeNotFound"


def test_collections_that_are_not_simulated_are_empty(client: httpx.Client) -> None:
    """A client that reads everything gets through."""
    for path in ("calls", "opportunities", "teams", "mailings"):
        assert client.get(f"/api/v2/{path}", params={"page[size]": "10"}).json()["data"] == []


def arm(client: httpx.Client, kind: str, **args: control.Json) -> None:
    """Arm a fault for the next call that carries a cursor."""
    client.post("/_sim/faults", json=[{"kind": kind, "args": args, "times": 1, "match": {"query": r"page\[after\]"}}])


def test_a_page_can_be_served_twice_or_empty(client: httpx.Client) -> None:
    """Neither fault loses a record: one repeats a page, the other slips an empty one in."""
    whole = ids(client, "prospects")
    arm(client, "empty_middle_page")
    assert ids(client, "prospects", **{"page[size]": "20"}) == whole
    arm(client, "duplicate_page")
    assert ids(client, "prospects", **{"page[size]": "20"}) == [*whole[:40], *whole[20:]]


def test_a_page_can_lack_a_record(client: httpx.Client) -> None:
    """``drop_record`` leaves one out of one page."""
    whole = ids(client, "prospects")
    arm(client, "drop_record", id=whole[25])
    assert ids(client, "prospects", **{"page[size]": "20"}) == whole[:25] + whole[26:]


def test_a_link_can_lead_elsewhere_and_a_cursor_expire(client: httpx.Client) -> None:
    """``wrong_next_host`` changes only the host; ``expired_cursor`` hits only calls with a cursor."""
    first = client.get("/api/v2/prospects", params={"page[size]": "20"}).json()
    arm(client, "wrong_next_host")
    assert client.get(first["links"]["next"]).json()["links"]["next"].startswith("https://elsewhere.example/api/v2/")
    arm(client, "expired_cursor")
    assert client.get(first["links"]["next"]).status_code == 410
    arm(client, "expired_cursor", code=400)
    assert client.get(first["links"]["next"]).status_code == 400
    assert client.get("/api/v2/prospects?page[size]=5&page[after]=garbage").status_code == 422


def test_relations_can_lack_their_data(client: httpx.Client) -> None:
    """``omit_relation_data`` leaves the member out of every relation, as has been seen live."""
    client.post("/_sim/faults", json=[{"kind": "omit_relation_data", "times": 1}])
    related = client.get("/api/v2/sequenceStates/1").json()["data"]["relationships"]
    assert related["prospect"] == {}
    assert all("data" not in one for one in related.values())


def test_a_body_less_call_needs_no_content_type() -> None:
    """Even the strict mode only looks at writes; its 415 says ``details``."""
    app = outreach.build(records=3, options=Options(strict_content_type=True))
    with httpx.Client(transport=httpx.WSGITransport(app), base_url="http://sim.test", headers=BEARER) as client:
        assert client.get("/api/v2/users").status_code == 200
        answer = client.post("/api/v2/prospects", json={"data": {"type": "prospect"}})
        assert (answer.status_code, answer.json()["errors"][0]["id"]) == (415, "unsupportedMediaType")
        assert "details" in answer.json()["errors"][0]
