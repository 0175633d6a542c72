"""Server processes that share a store: uvicorn with FastAPI, gunicorn with Flask, and what becomes of a key between them.

Vectors 83, 92 and 98. The effects are counted in a file that no crash takes back.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from processes.ledger import until
from processes.places import PLACES
from processes.shop import BLOCKED, LEASE
from processes.sites import FRAMEWORKS, Asked, Site, lasting, on, opened
from servers.processes import Running
from servers.wire import Answer, Connection

OTHER = {"fastapi": "flask", "flask": "fastapi"}


@pytest.fixture(scope="module", params=PLACES)
def site(request: pytest.FixtureRequest) -> Iterator[Site]:
    """Both processes on one store of each kind."""
    with opened(request.param) as found:
        yield found


@pytest.fixture(autouse=True)
def logs(site: Site) -> Iterator[None]:
    """What the servers say is shown where a test fails, and an error in it is a failure."""
    starts = [server.log_size() for server in site.both]
    yield
    for server, start in zip(site.both, starts, strict=True):
        print(f"log of {server.name}:\n{server.log(start)}")
        assert "Traceback" not in server.log(start)


def in_flight(answer: Answer) -> bool:
    """409 to the twin of a run that goes on, with a word on when to try again."""
    return (answer.status, answer.rule) == (409, "idem-key-inflight-409") and answer.get("retry-after") == "1"


def unknown(answer: Answer) -> bool:
    return (answer.status, answer.rule) == (409, "idem-outcome-unknown")


# ---- twins


def test_fifty_twins_are_one_effect(site: Site) -> None:
    """Vector 83: of fifty at once at two processes one runs; the others are told to wait or get its answer, as do all later."""
    asked = [site.start(server, "POST", "/orders", "fifty", "fifty") for _ in range(25) for server in site.both]
    answers = [each.answer() for each in asked]
    first = [each for each in answers if each.status == 201 and not each.replayed]
    assert len(first) == 1
    assert all(each is first[0] or each.replayed or in_flight(each) for each in answers)
    assert site.ledger.effects("POST /orders fifty") == 1
    for framework in FRAMEWORKS:
        retry = site.send(framework, "POST", "/orders", "fifty", "fifty")
        assert retry.replayed
        assert lasting(retry) == lasting(first[0])
    assert all(lasting(each) == lasting(first[0]) for each in answers if each.replayed)
    assert site.ledger.effects("POST /orders fifty") == 1


# ---- without a key


@pytest.mark.parametrize("first", FRAMEWORKS)
def test_the_last_put_counts(site: Site, first: str) -> None:
    """A at one process, B at the other, A at the first again: three effects, and it ends at A."""
    path = f"/things/last-{first}"
    for framework, content in ((first, "A"), (OTHER[first], "B"), (first, "A")):
        answer = site.send(framework, "PUT", path, content)
        assert (answer.status, answer.replayed) == (200, False)
    assert site.ledger.effects(f"PUT {path}") == 3
    assert site.send(first, "GET", path).json() == {"state": "A"}


@pytest.mark.parametrize("method", ["POST", "PATCH", "DELETE"])
def test_a_put_is_replayed_until_something_else_was_done(site: Site, method: str) -> None:
    """The same PUT at the other process is its replay; not after another verb has touched the target anywhere."""
    path = f"/things/touched-{method}"
    answers = [site.send(framework, "PUT", path, "A") for framework in ("fastapi", "flask", "fastapi")]
    assert [each.replayed for each in answers] == [False, True, True]
    assert lasting(answers[0]) == lasting(answers[1]) == lasting(answers[2])
    assert site.send("flask", method, path, "").status == 200
    assert not site.send("fastapi", "PUT", path, "A").replayed
    assert site.send("flask", "PUT", path, "A").replayed
    assert site.ledger.effects(f"PUT {path}") == 2


# ---- leases


def test_a_run_keeps_its_key_however_long_it_lasts(site: Site) -> None:
    """Three leases long the twin at the other process is told to wait, also while a handler blocks its event loop."""
    running: dict[str, Asked] = {}
    for path in ("/held/lasts", "/blocking/lasts"):  # the second keeps the loop from beginning anything else
        for framework, server in site.servers.items():
            name = f"{path}-{framework}"
            running[name] = site.start(server, "POST", name, "", name)
        for framework in FRAMEWORKS:
            site.ledger.wait_for(f"POST {path}-{framework}")
    end = time.monotonic() + BLOCKED - 0.3  # a process that stands still answers no twin of the other's
    while time.monotonic() < end:
        for path in ("/held/lasts-fastapi", "/blocking/lasts-fastapi"):
            assert in_flight(site.send("flask", "POST", path, "", path))
        time.sleep(LEASE / 5)
    for path in ("/held/lasts-flask", "/blocking/lasts-flask"):
        answer = site.send("fastapi", "POST", path, "", path)
        assert in_flight(answer) or (path.startswith("/blocking") and answer.replayed)
    site.ledger.open_gate("lasts-fastapi")
    site.ledger.open_gate("lasts-flask")
    for path, each in running.items():
        answer = each.answer()
        assert (answer.status, answer.replayed, answer.get("idempotency-status")) == (200, False, None)
        assert site.ledger.effects(f"POST {path}") == 1


@pytest.mark.parametrize("site", ["redis"], indirect=True)  # the other stores have a thread that renews
def test_the_loop_renews_too(site: Site) -> None:
    """A store over a client of the application's own, which only asyncio can ask: its leases are renewed by the loop."""
    with site.beside("fastapi", VERBGUARD_TEST_STORE=f"client+{site.place.url}") as found:
        running = site.start(found["fastapi"], "POST", "/held/loop", "", "loop")
        site.ledger.wait_for("POST /held/loop")
        end = time.monotonic() + 3 * LEASE
        while time.monotonic() < end:
            assert in_flight(site.send("flask", "POST", "/held/loop", "", "loop"))
            time.sleep(LEASE / 5)
        site.ledger.open_gate("loop")
        assert running.answer().status == 200
    assert site.send("flask", "POST", "/held/loop", "", "loop").replayed
    assert site.ledger.effects("POST /held/loop") == 1


# ---- crashes


DYING = {
    "PUT /held": ("PUT", "runs"),
    "POST /held": ("POST", "unknown"),
    "POST /rerun": ("POST", "runs"),
    "POST /ignorant": ("POST", "unknown"),
    "POST /willing": ("POST", "runs"),
    "POST /knowing": ("POST", "known"),
}


@pytest.mark.parametrize("survivor", FRAMEWORKS)
def test_a_process_that_dies_between_effect_and_record(site: Site, survivor: str) -> None:
    """Vector 92: while the lease lives the retry waits. Then PUT runs again; POST is not run unless its route says that it may
    be, or tells what came of it."""
    end = f"dies-{survivor}"
    with site.beside(OTHER[survivor]) as found:
        victim = found[OTHER[survivor]]
        for name, (method, _) in DYING.items():
            site.start(victim, method, f"{name.split()[1]}/{end}", "", f"{name}-{end}").drop()
        for name in DYING:
            site.ledger.wait_for(f"{name}/{end}")
        killed = time.monotonic()
        victim.signal(signal.SIGKILL)
        for name, (method, _) in DYING.items():
            retry = site.send(survivor, method, f"{name.split()[1]}/{end}", "", f"{name}-{end}")
            assert in_flight(retry) or time.monotonic() - killed > LEASE / 2
    site.ledger.open_gate(end)
    for name, (method, becomes) in DYING.items():
        _dies(site, survivor, method, f"{name.split()[1]}/{end}", f"{name}-{end}", becomes)


def _dies(site: Site, survivor: str, method: str, path: str, key: str, becomes: str) -> None:
    """What the retries of a run hear whose process was killed, and whether it ran again."""
    answers: list[Answer] = []

    def over() -> bool:
        answers.append(site.send(survivor, method, path, "", key))
        return not in_flight(answers[-1])

    until("the end of the lease", over)
    retry, later = answers[-1], site.send(OTHER[survivor], method, path, "", key)
    if becomes == "unknown":
        assert unknown(retry)
        assert unknown(later)
    else:
        known = becomes == "known"
        assert (retry.status, retry.replayed) == ((201, True) if known else (200, False))
        assert later.replayed
        assert lasting(later) == lasting(retry)
        if known:
            assert (retry.get("location"), retry.content) == ("/things/known", b"as it was found")
    assert site.ledger.effects(f"{method} {path}") == (2 if becomes == "runs" else 1)


@pytest.mark.parametrize("stopped", FRAMEWORKS)
def test_a_process_that_stood_still_does_not_overwrite(site: Site, stopped: str) -> None:
    """A process stands still for longer than its lease while another runs for its key: its late answer is not kept, it says
    that its lease was lost, and every retry gets the newer run's answer."""
    path = f"/rerun/stands-{stopped}"
    server, other = site.servers[stopped], OTHER[stopped]
    late = site.start(server, "POST", path, "", path)
    site.ledger.wait_for(f"POST {path}")
    server.signal(signal.SIGSTOP)
    newer: list[Answer] = []
    try:
        site.ledger.open_gate(f"stands-{stopped}")

        def won() -> bool:
            newer.append(site.send(other, "POST", path, "", path))
            return not in_flight(newer[-1])

        until("the end of the lease", won)
    finally:
        server.signal(signal.SIGCONT)
    assert (newer[-1].status, newer[-1].replayed) == (200, False)
    old = late.answer()
    assert (old.status, old.replayed) == (200, False)
    assert old.json() != newer[-1].json()
    said = "idem-lease-lost POST /rerun/{name}"
    until("the word of a lost lease", lambda: old.get("idempotency-status") == "lease-lost" or site.ledger.findings(said))
    for framework in FRAMEWORKS:
        retry = site.send(framework, "POST", path, "", path)
        assert retry.replayed
        assert lasting(retry) == lasting(newer[-1])
    assert site.ledger.effects(f"POST {path}") == 2


# ---- ends that are announced


def test_a_server_that_ends_leaves_no_locked_key(site: Site) -> None:
    """SIGTERM: what is done in time is recorded and heard by its client, and what is cut off is free at once."""
    with site.beside("fastapi", options=("--timeout-graceful-shutdown=1",)) as found:
        server = found["fastapi"]
        finishes = site.start(server, "POST", "/long/finishes", "", "finishes")
        cut = site.start(server, "POST", "/long/cut", "", "cut")
        site.ledger.wait_for("POST /long/finishes")
        site.ledger.wait_for("POST /long/cut")
        server.terminate()
        site.ledger.open_gate("finishes")
        answer = finishes.answer()
        assert answer.status == 200
        until("the server's end", lambda: server.ended)
        cut.drop()
    retry = site.send("flask", "POST", "/long/finishes", "", "finishes")
    assert retry.replayed
    assert lasting(retry) == lasting(answer)
    assert site.ledger.effects("POST /long/finishes") == 1
    site.ledger.open_gate("cut")
    assert site.send("flask", "POST", "/long/cut", "", "cut").status == 200
    assert site.ledger.effects("POST /long/cut") == 2


def test_a_cancelled_request_leaves_no_locked_key(site: Site) -> None:
    """A timeout middleware cancels the request's task: its key is free at the other process before its client has heard."""
    assert site.send("fastapi", "POST", "/long/late", "", "late", x_timeout="0.2").status == 504
    site.ledger.open_gate("late")
    assert site.send("flask", "POST", "/long/late", "", "late").status == 200
    assert site.ledger.effects("POST /long/late") == 2


# ---- forks


def test_workers_that_were_forked_from_a_guard_in_use(site: Site) -> None:
    """gunicorn --preload: guard and store were made, and had served a request, before the fork. Between the workers twins have
    one effect, and a PUT is replayed until something else was done."""
    options = ("--preload", "--workers=2", "--keep-alive=60")
    with site.beside("flask", options=options, VERBGUARD_TEST_WARM="1") as found, ExitStack() as stack:
        one, other = _workers(found["flask"], stack)
        asked = [site.start(found["flask"], "POST", "/orders", "forked", "forked") for _ in range(50)]
        answers = [each.answer() for each in asked]
        first = [each for each in answers if each.status == 201 and not each.replayed]
        assert len(first) == 1
        assert all(each is first[0] or each.replayed or in_flight(each) for each in answers)
        for worker in (one, other):
            assert lasting(on(worker, "POST", "/orders", "forked", "forked")) == lasting(first[0])
            assert on(worker, "POST", "/orders", "before", "before").replayed
        assert site.ledger.effects("POST /orders forked") == site.ledger.effects("POST /orders before") == 1

        path = "/things/forked"
        steps = [(one, "A"), (other, "B"), (one, "A"), (other, "A"), (one, "A")]
        replayed = [on(worker, "PUT", path, content).replayed for worker, content in steps]
        assert replayed == [False, False, False, True, True]
        on(other, "PATCH", path)
        assert not on(one, "PUT", path, "A").replayed

        running = site.start(found["flask"], "POST", "/held/forked", "", "held-forked")
        site.ledger.wait_for("POST /held/forked")
        end = time.monotonic() + 2 * LEASE
        while time.monotonic() < end:
            assert all(in_flight(on(worker, "POST", "/held/forked", "", "held-forked")) for worker in (one, other))
            time.sleep(LEASE / 5)
        site.ledger.open_gate("forked")
        assert running.answer().status == 200


def _workers(server: Running, stack: ExitStack) -> list[Connection]:
    """A connection to each of two workers."""
    found: dict[int, Connection] = {}

    def both() -> bool:
        connection = stack.enter_context(server.connect())
        found.setdefault(on(connection, "GET", "/pid").json()["pid"], connection)
        return len(found) == 2

    until("a connection to each worker", both)
    return list(found.values())


# ---- outages: the last tests of a store, since nothing is replayed without a key for one window after them


PAUSE = 4.0  # seconds that six requests at once may take while their store is away; libpq gives a connection 2 s at least


def test_the_other_process_hears_of_an_outage_that_it_did_not_see(site: Site) -> None:
    """A write at one process of which the store has not heard: as soon as the store is back the other replays nothing over it,
    though no request comes to the first any more."""
    path = "/things/unheard"
    assert not site.send("flask", "PUT", path, "A").replayed
    assert site.send("fastapi", "PUT", path, "A").replayed
    site.place.fail()
    try:
        assert site.send("fastapi", "PUT", path, "B").status == 200
    finally:
        site.place.recover()
    until("a PUT that runs", lambda: not site.send("flask", "PUT", path, "A").replayed)
    assert site.ledger.state("unheard") == "A"


@pytest.mark.parametrize("outage", ["fails", "hangs"])
def test_a_store_that_is_away(site: Site, outage: str) -> None:
    """Vector 98: a required key is 503 before the handler runs, anything else runs with a finding, all of it within a bounded
    time; what was running when the store went away is answered as the application made it, and kept when the store is back;
    then everything works, and no process replays what was kept without a key before."""
    away, back = (site.place.fail, site.place.recover) if outage == "fails" else (site.place.hang, site.place.resume)
    end = outage
    kept, running = _before(site, end)
    unprotected = site.ledger.findings("idem-unprotected POST /orders")
    away()
    try:
        began = time.monotonic()
        asked = {
            (framework, what): site.start(site.servers[framework], method, path, content, key)
            for framework in FRAMEWORKS
            for what, method, path, content, key in (
                ("required", "POST", f"/required/{end}-{framework}", "", f"required-{end}-{framework}"),
                ("optional", "POST", "/orders", "", f"optional-{end}-{framework}"),
                ("keyless", "PUT", f"/things/{end}-{framework}", "B", ""),
            )
        }
        answers = {name: each.answer() for name, each in asked.items()}
        assert time.monotonic() - began < PAUSE
        for framework in FRAMEWORKS:
            refused = answers[framework, "required"]
            assert (refused.status, refused.rule, refused.get("retry-after")) == (503, "idem-store-down", "5")
            assert site.ledger.effects(f"POST /required/{end}-{framework}") == 0
            assert (answers[framework, "optional"].status, answers[framework, "optional"].replayed) == (201, False)
            assert (answers[framework, "keyless"].status, answers[framework, "keyless"].replayed) == (200, False)
        assert site.ledger.findings("idem-unprotected POST /orders") >= unprotected + 2
        site.ledger.open_gate(f"{end}-cut")
        began = time.monotonic()
        for each in running.values():
            answer = each.answer()
            assert (answer.status, answer.replayed) == (200, False)
        assert time.monotonic() - began < PAUSE
    finally:
        back()
    _after(site, end, kept)


def _before(site: Site, end: str) -> tuple[dict[str, Answer], dict[str, Asked]]:
    """Answers that were kept, with a key and without, and runs whose gate is closed."""
    kept: dict[str, Answer] = {}
    running: dict[str, Asked] = {}
    for framework, server in site.servers.items():
        kept[framework] = site.send(framework, "POST", "/orders", "", f"kept-{end}-{framework}")
        site.send(framework, "PUT", f"/things/{end}-{framework}", "A")
        path = f"/held/{end}-cut"
        running[framework] = site.start(server, "POST", path, "", f"{path}-{framework}")
    site.ledger.wait_for(f"POST /held/{end}-cut", len(running))
    return kept, running


def _is_kept_at_last(site: Site, framework: str, path: str, key: str) -> None:
    """The process that gave the answer tells the store again until it hears."""
    until("the answer that met the outage", lambda: site.send(framework, "POST", path, "", key).replayed)


def _after(site: Site, end: str, kept: dict[str, Answer]) -> None:
    """The store is back: what it knew it knows, what it has missed nobody makes up, and new keys are kept again."""
    for framework in FRAMEWORKS:
        other = OTHER[framework]
        # the PUT of B was not heard of: a replay of A at the other process would hide it
        again = site.send(other, "PUT", f"/things/{end}-{framework}", "A")
        assert (again.status, again.replayed) == (200, False)
        assert site.send(framework, "GET", f"/things/{end}-{framework}").json() == {"state": "A"}
    for framework in FRAMEWORKS:
        other = OTHER[framework]
        _is_kept_at_last(site, other, f"/held/{end}-cut", f"/held/{end}-cut-{framework}")
        retry = site.send(other, "POST", "/orders", "", f"kept-{end}-{framework}")
        assert retry.replayed
        assert lasting(retry) == lasting(kept[framework])
        for path in ("/orders", f"/required/{end}"):
            first = site.send(framework, "POST", path, "", f"new-{path}-{end}-{framework}")
            assert not first.replayed
            retry = site.send(other, "POST", path, "", f"new-{path}-{end}-{framework}")
            assert retry.replayed
            assert lasting(retry) == lasting(first)
