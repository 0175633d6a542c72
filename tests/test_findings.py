"""Every decision is a finding: what observers hear, what the log says, and that an observer harms nobody."""

from __future__ import annotations

import logging
from itertools import product
from typing import Any

import pytest
from blackbox.drivers import AsgiDriver, Client, Driver, WsgiDriver

import verbguard
from verbguard import Action, Finding, Policy, collection, item
from verbguard.exchange import Exchange
from verbguard.http import Request
from verbguard.plans import Guard
from verbguard.rules import catalogue

POLICIES = {
    "/items": collection(location="/items/{id}", methods={"GET", "POST"}),
    "/items/{id}": item(methods={"GET", "PUT", "DELETE"}),
}


async def asgi(scope: Any, receive: Any, send: Any) -> None:
    """Answers with the status that the query names; POST creates in JSON."""
    status = int(scope["query_string"] or b"200")
    await send({"type": "http.response.start", "status": status, "headers": [(b"content-type", b"application/json")]})
    await send({"type": "http.response.body", "body": b'{"id":9}'})


def wsgi(environ: Any, start_response: Any) -> list[bytes]:
    """The same over WSGI."""
    status = environ["QUERY_STRING"] or "200"
    start_response(f"{status} Reason", [("Content-Type", "application/json")])
    return [b'{"id":9}']


@pytest.fixture(params=["asgi", "wsgi"])
def interface(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def guarded(interface: str, **arguments: Any) -> Client:
    app = verbguard.guard(asgi if interface == "asgi" else wsgi, **{"policies": POLICIES, **arguments})
    driver: Driver = AsgiDriver(app) if interface == "asgi" else WsgiDriver(app)
    return Client(driver)


# ---- what observers hear

HEARD = [
    # request                             finding: rule, action, method, template, status
    ("PUT", "/items", {}, ("put-no-collection", Action.REJECT, "PUT", "/items", 405)),
    ("PUT", "/items/7?207", {}, ("status-method-table", Action.REPAIR, "PUT", "/items/{id}", 207)),
    ("GET", "/items/7?206", {}, ("status-206-needs-range", Action.OBSERVE, "GET", "/items/{id}", 206)),
    ("PUT", "/items/7?206", {}, ("status-method-table", Action.REPAIR, "PUT", "/items/{id}", 200)),
    ("POST", "/items?201", {}, ("post-201-location", Action.REPAIR, "POST", "/items", 201)),
    ("POST", "/items", {"key": '"a", "b"'}, ("idem-key-single", Action.REJECT, "POST", "/items", 400)),
    ("GET", "/items?103", {}, ("status-final-not-1xx", Action.REPLACE, "GET", "/items", 500)),
    ("DELETE", "/items/7?204", {}, ("no-content-1xx-204-304", Action.REPAIR, "DELETE", "/items/{id}", 204)),
]


@pytest.mark.parametrize(("method", "target", "options", "expected"), HEARD, ids=[row[3][0] for row in HEARD])
def test_observers_hear_what_was_done(interface: str, method: str, target: str, options: dict[str, Any], expected: Any) -> None:
    """Rule, action, method, template and the status that the client sees, with a sentence for a person."""
    heard: list[Finding] = []
    with guarded(interface, observers=[heard.append]) as client:
        client.send(method, target, **options)
    rule, action, *rest = expected
    found = [finding for finding in heard if finding.rule == rule]
    assert len(found) == 1, heard
    if expected[:2] == ("status-method-table", Action.REPAIR) and expected[4] == 207:
        action = Action.OBSERVE  # nothing says what was meant, so nothing is mended
    assert [found[0].action, found[0].method, found[0].template, found[0].status] == [action, *rest]
    assert found[0].message.endswith(".") or "=" in found[0].message


def test_the_everyday_is_heard_too(interface: str) -> None:
    """A replay is a finding; metrics are made of such."""
    heard: list[Finding] = []
    with guarded(interface, observers=[heard.append]) as client:
        for _ in range(2):
            client.send("POST", "/items?201", key="k")
    assert [finding.rule for finding in heard] == ["post-201-location", "idem-replay-result"]


def test_a_request_without_a_fault_is_silent(interface: str) -> None:
    """An ordinary exchange finds nothing."""
    heard: list[Finding] = []
    with guarded(interface, observers=[heard.append]) as client:
        for method, target in (
            ("GET", "/items"),
            ("GET", "/items/7"),
            ("PUT", "/items/7"),
            ("DELETE", "/items/7"),
            ("GET", "/x"),
        ):
            assert client.send(method, target).status == 200
    assert heard == []


def test_every_observer_hears_everything(interface: str) -> None:
    """Observers are independent of each other, and the default one is silent when there are others."""
    one: list[Finding] = []
    other: list[Finding] = []
    with guarded(interface, observers=[one.append, other.append]) as client:
        client.send("PUT", "/items")
    assert one == other
    assert len(one) == 1


def test_one_request_s_finding_is_not_the_next_one_s(interface: str) -> None:
    """An observer may change the finding that it was given without changing what later requests find."""
    heard: list[tuple[str, int]] = []

    def spoil(finding: Finding) -> None:
        heard.append((finding.message, finding.status))
        finding.message = "spoiled"
        finding.status = 0

    with guarded(interface, observers=[spoil]) as client:
        answers = [client.send("PUT", "/items") for _ in range(2)]
    assert [answer.status for answer in answers] == [405, 405]
    assert answers[0].body == answers[1].body
    assert heard[0] == heard[1]


# ---- observers that fail


def raising(finding: Finding) -> None:
    raise RuntimeError("no disk")


EVERYTHING = [
    ("PUT", "/items"),
    ("GET", "/items?103"),
    ("POST", "/items?201"),
    ("DELETE", "/items/7?204"),
    ("PUT", "/items/7?207"),
]


@pytest.mark.parametrize(("method", "target"), EVERYTHING)
def test_a_failing_observer_harms_nobody(interface: str, method: str, target: str, caplog: pytest.LogCaptureFixture) -> None:
    """The request is answered as with any other observer, the next observer hears it, and the failure is logged."""
    heard: list[Finding] = []
    with guarded(interface, observers=[lambda finding: None]) as client:
        expected = client.send(method, target)
    with guarded(interface, observers=[raising, heard.append]) as client:
        answer = client.send(method, target)
    assert (answer.status, answer.headers, answer.body, answer.error) == (
        expected.status,
        expected.headers,
        expected.body,
        None,
    )
    assert heard
    failures = [record for record in caplog.records if record.exc_info and record.exc_info[0] is RuntimeError]
    assert failures
    assert {record.name for record in failures} == {"verbguard"}


# ---- the log


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.DEBUG, "verbguard")
    return caplog


def lines(log: pytest.LogCaptureFixture, rule: str) -> list[logging.LogRecord]:
    return [record for record in log.records if record.name == "verbguard" and record.getMessage().startswith(rule)]


def test_the_log_says_it_once(interface: str, log: pytest.LogCaptureFixture) -> None:
    """One WARNING for each rule, route and status, with the rule's id, the template and what to do."""
    with guarded(interface) as client:
        for number in range(3):
            client.send("PUT", "/items")
            client.send("PUT", f"/items/{number}?207")
        client.send("GET", "/items/1?206")
        client.send("GET", "/items?206")
    refused, strange = lines(log, "put-no-collection"), lines(log, "status-method-table")
    assert len(refused) == len(strange) == 1
    assert {record.levelno for record in refused + strange} == {logging.WARNING}
    assert all(word in refused[0].getMessage() for word in ("put-no-collection", "PUT", "/items", "POST"))
    assert all(word in strange[0].getMessage() for word in ("status-method-table", "PUT", "/items/{id}", "207"))
    assert len(lines(log, "status-206-needs-range")) == 2


def test_another_status_is_another_line(interface: str, log: pytest.LogCaptureFixture) -> None:
    """What differs is told."""
    with guarded(interface) as client:
        for status in (207, 208, 207):
            client.send("PUT", f"/items/1?{status}")
    assert len(lines(log, "status-method-table")) == 2


@pytest.mark.parametrize("rule", [rule for rule in catalogue().values() if rule.routine], ids=lambda rule: rule.id)
def test_the_everyday_is_no_warning(rule: Any, log: pytest.LogCaptureFixture) -> None:
    """What the guard does all day is not worth a line in an operator's log."""
    guard = Guard(POLICIES)
    guard.tell(Finding("As always.", rule.id, Action.REPAIR, "GET", "/items", 200))
    assert {record.levelno for record in lines(log, rule.id)} <= {logging.DEBUG, logging.INFO}


@pytest.mark.parametrize("rule", [rule for rule in catalogue().values() if not rule.routine], ids=lambda rule: rule.id)
def test_the_unusual_is_a_warning(rule: Any, log: pytest.LogCaptureFixture) -> None:
    """Everything else is told at WARNING."""
    guard = Guard(POLICIES)
    guard.tell(Finding("Look here.", rule.id, Action.OBSERVE, "GET", "/items", 200))
    assert [record.levelno for record in lines(log, rule.id)] == [logging.WARNING]


def flood(guard: Guard, requests: list[Request]) -> None:
    for request in requests:
        exchange = Exchange(guard, guard.settle(request), request)
        if exchange.open() is None:
            exchange.answered(600, [])
            exchange.content(b"", False)


CASES = ("oO", "pP", "tT", "iI", "oO", "nN", "sS")
FLOODS = {
    "methods": [Request(f"FOO{number}", "/items") for number in range(300)],
    "methods on unknown paths": [Request(f"FOO{number}", f"/{number}") for number in range(300)],
    "methods in every case": [Request("".join(letters), "/items") for letters in product(*CASES)],
    "authorities": [Request("CONNECT", f"host{number}:443") for number in range(300)],
    "empty ports": [Request("CONNECT", f"host{number}:") for number in range(300)],
    "paths": [Request("GET", f"/{number}") for number in range(300)],
    "bad methods": [Request(f"G T{number}", "/items") for number in range(300)],
    "asterisks": [Request(f"M{number}", "*") for number in range(300)],
}


@pytest.mark.parametrize("requests", FLOODS.values(), ids=list(FLOODS))
def test_a_client_cannot_flood_the_log(requests: list[Request], log: pytest.LogCaptureFixture) -> None:
    """Methods, paths and authorities that a client makes up do not fill the log, nor the memory of what it has said."""
    guard = Guard(POLICIES)
    guard.compile()
    flood(guard, requests)
    warnings = [record for record in log.records if record.levelno >= logging.WARNING]
    assert len(warnings) <= 10


def test_a_client_s_words_break_no_line(log: pytest.LogCaptureFixture) -> None:
    """A log line is one line, whatever a method or path holds."""
    guard = Guard(POLICIES)
    guard.compile()
    flood(guard, [Request("FOO\nERROR root: hacked", "/items"), Request("CONNECT", "host\nERROR root: hacked:443")])
    assert all("\n" not in record.getMessage() for record in log.records)


def test_the_log_can_be_silenced(interface: str, log: pytest.LogCaptureFixture) -> None:
    """One logger, so that one line of logging configuration decides."""
    logging.getLogger("verbguard").setLevel(logging.ERROR)
    try:
        with guarded(interface) as client:
            client.send("PUT", "/items")
    finally:
        logging.getLogger("verbguard").setLevel(logging.DEBUG)
    assert not lines(log, "put-no-collection")


def test_findings_are_told_without_their_mend() -> None:
    """What a person reads of a finding fits on a line."""
    finding = Finding("Say 204.", "status-method-table", Action.REPAIR, "PUT", "/items", 204, add=[(b"x", b"y" * 99)])
    assert "yyyy" not in repr(finding)


def test_a_default_policy_says_its_part(interface: str) -> None:
    """A rule that is off in the default is off on every route without a policy of its own."""
    heard: list[Finding] = []
    default = Policy(rules={"status-method-table": Action.OFF})
    with guarded(interface, policies=None, default=default, observers=[heard.append]) as client:
        assert client.send("PUT", "/anything?205").status == 205
    assert "status-method-table" not in {finding.rule for finding in heard}
