"""README.md, executed: its code runs, and behaves as the text beside it says."""

from __future__ import annotations

import dataclasses
import itertools
import logging
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient
from werkzeug.test import Client

import verbguard
from verbguard import Policy, Replay, collection, item

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = (
    "    python3 -m venv .venv && .venv/bin/pip install -q -e '.[demo]' && .venv/bin/verbguard demo",
    "    python3 -m venv .venv && .venv/bin/pip install -q -e '.[dev]' && .venv/bin/pytest",
)
SECTIONS = dict(re.findall(r"^## (.+)\n((?:(?!^## ).*\n)*)", README, re.MULTILINE))
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def section(words: str) -> str:
    (found,) = (text for title, text in SECTIONS.items() if words in title)
    return found


def run(code: str) -> dict[str, Any]:
    """The names that a block leaves behind."""
    names: dict[str, Any] = {"__name__": "readme"}
    exec(compile(code, "README.md", "exec", dont_inherit=True), names)
    return names


def blocks(words: str, language: str = "python") -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", section(words), re.MULTILINE | re.DOTALL)


def table(words: str, first_column: str) -> list[list[str]]:
    """The cells of the table in a section whose head begins with these words."""
    lines = section(words).splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith(f"| {first_column} |"))
    rows = itertools.takewhile(lambda line: line.startswith("|"), lines[start + 2 :])
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in rows]


def test_the_two_commands_stand_near_the_top() -> None:
    """A stranger finds the demo and the tests without scrolling; `.ci/run` reads the second one from here."""
    top = README.splitlines()[:15]
    assert [line for line in top if line.startswith("    python3")] == list(COMMANDS)


@pytest.mark.parametrize("code", [code for language, code in BLOCKS if language == "python"])
def test_every_block_runs(code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No code in the README is broken."""
    monkeypatch.chdir(tmp_path)
    assert run(code)


def test_every_file_it_names_is_there() -> None:
    """Links lead to files of the repository."""
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", README) + re.findall(r"\S+python (benchmarks/\S+)", README)
    assert len(links) >= 5
    assert [link for link in links if not (ROOT / link).exists()] == []


@pytest.mark.parametrize(
    ("script", "arguments", "rows"),
    [
        ("benchmarks/overhead.py", ("--rounds=2", "--milliseconds=0.2"), 12),
        ("benchmarks/memory.py", ("--records", "100", "300"), 8),
    ],
)
def test_the_benchmarks_it_names_run(script: str, arguments: tuple[str, ...], rows: int) -> None:
    """A benchmark checks each answer while it measures, and prints machine, table and goals. No number is judged."""
    assert f"python {script}" in section("Developing")
    ran = subprocess.run(
        [sys.executable, script, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=300, check=False
    )
    assert ran.returncode == 0, ran.stderr
    head, table, *_, goals, count = ran.stdout.split("\n\n")
    assert "Python" in head
    assert len(table.splitlines()) == rows + 2
    assert goals.startswith("goal")
    assert "reached" in count


def test_every_rule_it_names_exists() -> None:
    """A rule id in the README is in the catalogue."""
    from verbguard.rules import CATALOGUE

    families = {rule.partition("-")[0] for rule in CATALOGUE}
    named = set(re.findall(r"[`\"]([a-z]+(?:-[a-z0-9]+)+)[`\"]", README))
    rules = {word for word in named if word.partition("-")[0] in families}
    assert "put-no-collection" in rules
    assert rules <= set(CATALOGUE)


# ------------------------------------------------------------------------------------------------ the three doors
def test_fastapi() -> None:
    """The first table, on the FastAPI app."""
    names = run(blocks("FastAPI")[0])
    orders, client = names["orders"], TestClient(names["app"])
    refused = client.put("/orders", json={})
    assert (refused.status_code, refused.json()["rule"]) == (405, "put-no-collection")
    assert methods(refused.headers["allow"]) == {"OPTIONS", "POST"}
    key = {"Idempotency-Key": "one"}
    first, second = (client.post("/orders", json={"tea": 1}, headers=key) for _ in range(2))
    assert (first.status_code, second.status_code) == (201, 201)
    assert first.headers["location"] == second.headers["location"] == "/orders/1"
    assert second.headers["idempotent-replayed"] == "true"
    assert len(orders) == 1
    assert client.get(first.headers["location"]).status_code == 200
    client.put("/orders/1", json={"tea": 2})
    orders[1] = "changed behind the guard"
    assert client.put("/orders/1", json={"tea": 2}).headers["idempotent-replayed"] == "true"
    assert orders[1] == "changed behind the guard"
    orders[1] = {}
    head = client.head("/orders/1")
    assert (head.status_code, head.content) == (200, b"")
    assert methods(client.options("/orders/1").headers["allow"]) == {"GET", "HEAD", "OPTIONS", "PUT"}


def test_fastapi_guarded_above_its_routes() -> None:
    """ "The same app, also when it stands above the routes.\""""
    code = blocks("FastAPI")[0]
    above = code.replace("app = FastAPI()\n", "app = FastAPI()\nverbguard.guard(app)\n")
    client = TestClient(run(above[: above.rindex("verbguard.guard")])["app"])
    assert client.put("/orders", json={}).json()["rule"] == "put-no-collection"


def test_fastapi_with_the_frameworks_own_way() -> None:
    """`app.add_middleware(verbguard.asgi.GuardMiddleware)` guards as well."""
    code = blocks("FastAPI")[0].replace(
        "verbguard.guard(app)", "app.add_middleware(verbguard.asgi.GuardMiddleware)"
    )  # fmt: skip
    client = TestClient(run(code)["app"])
    assert client.put("/orders", json={}).json()["rule"] == "put-no-collection"
    assert client.post("/orders", json={}).headers["location"] == "/orders/1"


def test_flask() -> None:
    """The same promises on the Flask app."""
    names = run(blocks("Flask")[0])
    customers, client = names["customers"], names["app"].test_client()
    refused = client.put("/customers", json={})
    assert (refused.status_code, refused.get_json()["rule"]) == (405, "put-no-collection")
    assert methods(refused.headers["allow"]) == {"OPTIONS", "POST"}
    first, second = (client.post("/customers", json={"name": "Ada"}, headers={"Idempotency-Key": "1"}) for _ in "ab")
    assert (first.status_code, first.headers["location"]) == (201, "/customers/1")
    assert second.headers["idempotent-replayed"] == "true"
    assert len(customers) == 1
    client.put("/customers/1", json={"name": "Ada L."})
    assert client.put("/customers/1", json={"name": "Ada L."}).headers["idempotent-replayed"] == "true"


def test_flask_with_the_middleware() -> None:
    """`app.wsgi_app = verbguard.wsgi.GuardMiddleware(app.wsgi_app)` replays with a key."""
    line = "app.wsgi_app = verbguard.wsgi.GuardMiddleware(app.wsgi_app)"
    assert line in section("Flask")
    names = run(blocks("Flask")[0].replace("verbguard.guard(app)", line))
    client = names["app"].test_client()
    answers = [client.post("/customers", json={}, headers={"Idempotency-Key": "1"}) for _ in range(2)]
    assert [answer.headers.get("idempotent-replayed") for answer in answers] == [None, "true"]


def test_a_bare_app() -> None:
    """Policies stand in for the routes that cannot be read."""
    client = Client(run(blocks("bare")[0])["application"])
    refused = client.put("/notes", data=b"all")
    assert refused.status_code == 405
    assert methods(refused.headers["allow"]) == {"GET", "HEAD", "OPTIONS", "POST"}
    answers = [client.put("/notes/1", data=b"one") for _ in range(2)]
    assert [answer.headers.get("idempotent-replayed") for answer in answers] == [None, "true"]


# ------------------------------------------------------------------------------------------------------ policies
def test_three_spellings_are_one_policy() -> None:
    """Mapping, decorator and text give equal policies."""
    mapping, decorator = (run(code) for code in blocks("Policies"))
    (text,) = blocks("Policies", "toml")
    config = verbguard.config.loads(text)
    assert config.policies == mapping["policies"]
    assert decorator["pay"].__verbguard__ == mapping["policies"]["POST /orders/{order_id}/pay"]
    assert config.profile == "guard"
    assert decorator["pay"](7) == {"paid": 7}


def test_every_field_of_a_policy_is_explained() -> None:
    """The table of fields is complete, and names nothing that is not there."""
    explained = {row[0].strip("`") for row in table("Policies", "field")}
    assert explained == {field.name for field in dataclasses.fields(Policy)}


def test_a_mistake_is_told_with_the_nearest_spelling() -> None:
    """A mistake in a policy is a ConfigError when it is made."""
    with pytest.raises(verbguard.ConfigError, match="statuses"):
        item(status={"PUT": {200}})


def test_every_profile_is_explained() -> None:
    """The table of profiles is complete."""
    assert [row[0].strip("`") for row in table("Profiles", "profile")] == list(verbguard.Profile)


def test_observe_changes_nothing_and_says_everything_once(caplog: pytest.LogCaptureFixture) -> None:
    """In `observe` the app alone decides; each finding is logged once per rule, route and status, at WARNING."""
    calls: list[str] = []
    client = Client(answering(205, calls, profile="observe"))
    with caplog.at_level(logging.INFO, "verbguard"):
        answers = [client.put(path, data=b"{}") for path in ("/things", "/things/1") * 2]
    assert [answer.status_code for answer in answers] == [205] * 4
    assert len(calls) == 4
    assert [answer for answer in answers if "idempotent-replayed" in answer.headers] == []
    lines = [record for record in caplog.records if "put-no-collection" in record.getMessage()]
    assert [(record.levelname, record.name) for record in lines] == [("WARNING", "verbguard")]
    assert "/things" in lines[0].getMessage()


def test_observers_get_the_findings() -> None:
    """`observers=[...]` takes callables; each gets every finding."""
    seen: list[verbguard.Finding] = []
    client = Client(answering(200, [], profile="observe", observers=[seen.append]))
    for _ in range(2):
        client.put("/things", data=b"{}")
    found = [(each.rule, each.method, each.template) for each in seen if each.rule == "put-no-collection"]
    assert found == [("put-no-collection", "PUT", "/things")] * 2


def test_a_rule_can_stay_behind() -> None:
    """`rules={"put-no-collection": "observe"}` and `put="allow"` let PUT through on one route."""
    for policy in (collection(rules={"put-no-collection": "observe"}), collection(put="allow")):
        client = Client(verbguard.guard(plain, policies={"/notes": policy, "/others": collection()}))
        assert client.put("/notes").status_code == 200
        assert client.put("/others").status_code == 405


def test_guard_repairs_and_strict_replaces() -> None:
    """A 205 to PUT becomes 204; a 207 to PUT passes in `guard`, and is a 500 that says why in `strict`."""
    assert Client(answering(205, [])).put("/things/1", data=b"{}").status_code == 204
    assert Client(answering(207, [])).put("/things/1", data=b"{}").status_code == 207
    replaced = Client(answering(207, [], profile="strict")).put("/things/1", data=b"{}")
    assert (replaced.status_code, replaced.mimetype) == (500, "application/problem+json")
    assert "207" in replaced.get_json()["detail"]


# -------------------------------------------------------------------------------------------------------- replay
def answering(status: int, calls: list[str], **settings: Any) -> Callable[..., Any]:
    """A guarded application that always answers this status."""

    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        calls.append(environ["REQUEST_METHOD"])
        start_response(f"{status} Status", [("Content-Type", "text/plain"), ("Location", "/things/1")])
        return [] if status in (204, 304) else [b"text"]

    return verbguard.guard(application, policies={"/things/{id}": item(), "/things": collection()}, **settings)


def statuses(cell: str) -> list[int]:
    """The codes that a cell names; "2xx" and "5xx" stand for some of them."""
    codes = [int(code) for code in re.findall(r"\b[1-5]\d\d\b", cell)]
    return codes + [200, 201, 202, 204] * ("2xx" in cell) + [501, 507] * ("5xx" in cell)


FATES = [
    (method, status, fate)
    for row in table("Replay", "outcome of the first request")
    for column, pair in ((1, ("POST", "PATCH")), (2, ("PUT", "DELETE")))
    for method in pair
    for status in statuses(row[0])
    for fate in [row[column]]
]


@pytest.mark.parametrize(("method", "status", "fate"), FATES)
def test_kept_and_released(method: str, status: int, fate: str) -> None:
    """The table of outcomes is what a retry with the same key finds."""
    calls: list[str] = []
    client = Client(answering(status, calls))
    path = "/things" if method == "POST" else "/things/1"
    for _ in range(2):
        client.open(path, method=method, data=b"{}", headers={"Idempotency-Key": "same"})
    assert len(calls) == {"kept": 1, "released": 2}[fate]


def test_the_table_of_outcomes_is_whole() -> None:
    """Every row says kept or released, and every 4xx that is released is named."""
    assert {fate for _, _, fate in FATES} == {"kept", "released"}
    assert len({status for _, status, _ in FATES}) > 35


def test_the_numbers_are_the_defaults() -> None:
    """The seconds and bytes in the text are those of the code."""
    defaults, text = Replay(), " ".join(section("Replay").split())
    assert (defaults.window, defaults.keep, defaults.max_response) == (30.0, 86_400.0, 1 << 20)
    for words in ("30 seconds where the kind is declared", "for a day (`keep`)", "`max_response` (1 MiB)"):
        assert words in text


def test_a_put_with_no_cache_or_a_precondition_always_runs() -> None:
    """ "A PUT with a precondition, or with Cache-Control: no-cache, always runs.\""""
    for headers in ({"Cache-Control": "no-cache"}, {"If-Match": '"1"'}):
        calls: list[str] = []
        client = Client(answering(200, calls))
        for _ in range(2):
            client.put("/things/1", data=b"{}", headers=headers)
        assert len(calls) == 2, headers


def test_an_answer_that_is_too_large_is_never_run_again() -> None:
    """Above max_response a retry is a 409 that says so."""
    calls: list[str] = []

    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        calls.append(environ["REQUEST_METHOD"])
        start_response("201 Created", [("Content-Type", "text/plain"), ("Location", "/things/1")])
        return [b"x" * 600_000] * 2

    client = Client(verbguard.guard(application, policies={"/things": collection()}))
    first, second = (client.post("/things", headers={"Idempotency-Key": "large"}) for _ in range(2))
    assert (first.status_code, len(first.data)) == (201, 1_200_000)
    assert (second.status_code, second.get_json()["rule"], len(calls)) == (409, "idem-not-retained", 1)


def test_exactly_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One payment for a key, also when the guard's file is lost; its Location is in the record, too."""
    monkeypatch.chdir(tmp_path)
    answers = []
    for _ in range(2):
        client = run(blocks("Replay")[0])["app"].test_client()
        answers += [client.post("/payments", headers={"Idempotency-Key": "one"}) for _ in range(2)]
        for file in tmp_path.glob("replay.db*"):
            file.unlink()
    assert [(answer.status_code, answer.data) for answer in answers] == [(201, b'{"id": 1}')] * 4
    assert client.post("/payments").status_code == 400


# ------------------------------------------------------------------------------------------------------ security
def test_authorize_is_asked_before_each_replay() -> None:
    """`Replay(authorize=callable)`: False is a 403, and the first answer stays with the guard."""
    allowed = [True]
    replay = Replay(authorize=lambda request: allowed[0])
    client = Client(verbguard.guard(plain, policies={"/notes/{id}": item(replay=replay)}))
    answers = [client.put("/notes/1", data=b"one") for _ in range(2)]
    allowed[0] = False
    answers.append(client.put("/notes/1", data=b"one"))
    assert [answer.status_code for answer in answers] == [200, 200, 403]
    assert answers[1].headers["idempotent-replayed"] == "true"


def plain(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [environ["REQUEST_METHOD"].encode()]


def test_a_principal_that_names_nobody_refuses_the_key() -> None:
    """A key needs somebody whom it belongs to."""
    client = Client(verbguard.guard(plain, principal=lambda request: dict(request.headers).get(b"x-account")))
    assert client.post("/notes", headers={"Idempotency-Key": "1"}).status_code >= 400
    assert client.post("/notes", headers={"Idempotency-Key": "1", "X-Account": "ada"}).status_code == 200
    assert client.post("/notes").status_code == 200


def test_bare_and_quoted_keys_are_one() -> None:
    """Both spellings name one key; `strict` insists on the quotes."""
    calls: list[str] = []
    client = Client(answering(201, calls))
    for key in ("8e03978e", '"8e03978e"'):
        client.post("/things", headers={"Idempotency-Key": key})
    assert len(calls) == 1
    strict = Client(verbguard.guard(plain, profile="strict"))
    assert strict.post("/things", headers={"Idempotency-Key": "8e03978e"}).status_code == 400


def methods(allow: str) -> set[str]:
    return {method.strip() for method in allow.split(",")}
