"""`verbguard serve --upstream`: the guarded gateway as an operator runs it, in processes of its own, over real sockets."""

from __future__ import annotations

import http.client
import json
import re
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from commands import apps
from commands.running import PATIENCE, ask, run, started, without
from commands.upstreams import Upstream, upstream
from gateway.upstream import Upstream as RawUpstream

LISTENS = re.compile(r" on http://127\.0\.0\.1:(\d+)")
ADMIN = re.compile(r"Health and metrics: http://127\.0\.0\.1:(\d+)/-/verbguard/health")
SERVERS = [
    pytest.param(("--server", "uvicorn"), id="uvicorn"),
    pytest.param(("--server", "uvicorn", "--http", "httptools"), id="httptools"),
    pytest.param(("--server", "uvicorn", "--workers", "2"), id="uvicorn, 2 workers"),
    pytest.param(("--server", "granian"), id="granian"),
    pytest.param(("--server", "granian", "--workers", "2"), id="granian, 2 workers"),
]


@dataclass
class Running:
    """A gateway in a process of its own."""

    process: subprocess.Popen[str]
    port: int
    admin: int
    output: list[str]

    def ask(self, method: str, path: str, content: bytes = b"", **headers: str) -> tuple[http.client.HTTPResponse, bytes]:
        return asked(self.port, method, path, content, **headers)

    def health(self) -> tuple[int, dict[str, Any]]:
        answer, content = asked(self.admin, "GET", "/-/verbguard/health")
        return answer.status, json.loads(content)

    def metrics(self) -> dict[str, float]:
        answer, content = asked(self.admin, "GET", "/-/verbguard/metrics")
        assert answer.status == 200, "".join(self.output)
        assert answer.headers["Content-Type"].startswith("text/plain; version=")
        lines = [line.rpartition(" ") for line in content.decode().splitlines() if not line.startswith("#")]
        return {name: float(value) for name, _, value in lines}

    def stopped(self, sig: int = signal.SIGTERM) -> int:
        self.process.send_signal(sig)
        return self.process.wait(PATIENCE)


def asked(port: int, method: str, path: str, content: bytes = b"", **headers: str) -> tuple[http.client.HTTPResponse, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    try:
        return ask(connection, method, path, content or None, **headers)
    finally:
        connection.close()


@contextmanager
def gateway(cwd: Path, *arguments: str, text: str = "") -> Iterator[Running]:
    """A gateway with an admin port, once it serves; `text` is its verbguard.toml."""
    if text:
        (cwd / "verbguard.toml").write_text(text)
        arguments = (*arguments, "--config", "verbguard.toml")
    ready = re.compile(r"Application startup complete|Started worker-\d+ runtime|Spawning worker")
    with started("serve", "--port", "0", "--admin", "0", *arguments, cwd=cwd, until=ready) as (process, _, output):
        port, admin = (int(found[1]) for pattern in (LISTENS, ADMIN) if (found := pattern.search("".join(output))))
        running = Running(process, port, admin, output)
        served(running)
        yield running


def served(running: Running) -> None:
    """Wait until a worker has come up: its admin port answers."""
    status, words = running.health()
    assert status == 200, words


@pytest.fixture
def service() -> Iterator[Upstream]:
    with upstream() as server:
        yield server


# ---- what it does with a request


@pytest.mark.parametrize("server", SERVERS)
def test_a_service_is_guarded(tmp_path: Path, service: Upstream, server: tuple[str, ...]) -> None:
    """One command: the service answers through the gateway, a PUT on a declared collection is refused, a retry is replayed."""
    text = f"[gateway]\nupstream = '{service.url}'\n[policies.'/orders']\nkind = 'collection'"
    with gateway(tmp_path, *server, text=text) as running:
        answer, content = running.ask("GET", "/a//b%2Fc?x=1&y=", X_Some="thing")
        assert (answer.status, service.seen) == (200, [("GET", "/a//b%2Fc?x=1&y=")])
        assert len(answer.headers.get_all("Date")) == len(answer.headers.get_all("Server")) == 1
        assert answer.headers["Server"].startswith("BaseHTTP")
        answer, content = running.ask("PUT", "/orders", b"{}")
        assert (answer.status, json.loads(content)["rule"]) == (405, "put-no-collection")
        assert len(answer.headers.get_all("Date")) == 1
        answers = [running.ask("POST", "/orders", b"{}", Idempotency_Key="one")[0] for _ in range(4)]
        assert [answer.status for answer in answers] == [201] * 4
        assert [answer.headers["Idempotent-Replayed"] for answer in answers] == [None, "true", "true", "true"]
        assert answers[0].headers["Location"] == "/made/2"
        assert service.seen.count(("POST", "/orders")) == 1


def test_the_public_port_has_nothing_of_the_admin_port(tmp_path: Path, service: Upstream) -> None:
    """What is below /-/verbguard/ on the public port belongs to the service; the admin port has nothing else."""
    with gateway(tmp_path, "--upstream", service.url) as running:
        assert running.ask("GET", "/-/verbguard/health")[1] == b""
        assert service.seen == [("GET", "/-/verbguard/health")]
        assert asked(running.admin, "GET", "/orders")[0].status == 404
        answer, _ = asked(running.admin, "POST", "/-/verbguard/health")
        assert (answer.status, answer.headers["Allow"]) == (405, "GET,HEAD")
    assert service.seen == [("GET", "/-/verbguard/health")]


HANDSHAKE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}


@pytest.mark.parametrize("workers", ["1", "2"])
def test_what_goes_wrong_gives_no_secret_away(tmp_path: Path, workers: str) -> None:
    """Neither an answer that is none, nor a service that cannot be reached, nor a WebSocket; each is one line of the log."""
    service = RawUpstream()
    bad = service.plays(b"HTTP/1.1 200 OK\r\nX-A\r\n\r\n")
    text = f"[gateway]\nupstream = '{service.url}'\nconnections = 1\nconnect_timeout = 0.2"

    def hold(talk: Any) -> None:
        talk.read()
        talk.pause()
        talk.send(b"HTTP/1.1 204 No Content\r\n\r\n")

    held = service.plays(hold)
    with gateway(tmp_path, "--workers", workers, text=text) as running:
        assert running.ask("GET", "/x?token=s3cret", X_Case=bad.name)[0].status == 502
        if workers == "1":
            waiting = threading.Thread(target=running.ask, args=("GET", "/x"), kwargs={"X_Case": held.name})
            waiting.start()
            held.wait(held.reached)
            assert running.ask("GET", "/x?token=s3cret")[0].status == 504
            held.opened.set()
            waiting.join()
        connection = http.client.HTTPConnection("127.0.0.1", running.port, timeout=PATIENCE)
        connection.request("GET", "/x?token=s3cret", headers=HANDSHAKE)
        assert connection.getresponse().status == 200
        connection.close()
        assert running.stopped() == 0
    service.stop()
    lines = [line for line in "".join(running.output).splitlines() if line.strip()]
    assert not any("s3cret" in line for line in lines), lines
    assert all(re.match(r"[A-Z]+: |\d{4}-|verbguard |Health ", line) for line in lines), lines
    assert sum("gave no answer" in line for line in lines) == 1


# ---- mistakes

WRONG = [
    # arguments                                                       what the one line says
    (["--upstream", "http://h/api"], "without a path"),
    (["--upstream", "127.0.0.1:9000"], "--upstream"),
    (["--upstream", "http://h", "shop:app"], "leave one of them out"),
    (["--config", "odd.toml"], "odd.toml:3: gateway: there is no field 'timeot': did you mean 'timeout'?"),
    (["--config", "empty.toml"], "upstream is missing"),
    (["--config", "memory.toml", "--workers", "2"], "memory:// is one process's"),
    (["--upstream", "http://h", "--admin", "nowhere"], "[HOST:]PORT"),
    (["--upstream", "http://h", "--admin", "70000"], "[HOST:]PORT"),
    (["shop:app", "--config", "memory.toml"], "serve one of them"),
    (["--upstream", "http://h", "--server", "granian", "--http", "h11"], "--http is uvicorn's"),
    (["--upstream", "http://h", "--server", "granian", "--keep-alive", "5"], "--keep-alive is uvicorn's"),
]


OTHERWISE = [(*WRONG[0], ("--workers", "2")), (*WRONG[3], ("--workers", "2")), (*WRONG[3], ("--server", "granian"))]


@pytest.mark.parametrize(("arguments", "says", "extra"), [(*row, ()) for row in WRONG] + OTHERWISE)
def test_mistakes_are_told_at_once(tmp_path: Path, arguments: list[str], says: str, extra: tuple[str, ...]) -> None:
    """Exit status 2 and the reason, once, however many workers were asked for."""
    (tmp_path / "odd.toml").write_text("profile = 'guard'\n[gateway]\ntimeot = 5\n")
    (tmp_path / "empty.toml").write_text("[gateway]\n")
    (tmp_path / "memory.toml").write_text("store = 'memory://'\n[gateway]\nupstream = 'http://h'\n")
    done = run("serve", *arguments, *extra, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count(says) == 1 and "Traceback" not in done.stderr, done.stderr


@pytest.mark.parametrize(
    ("module", "arguments", "says"),
    [
        ("aiohttp", ["--upstream", "http://h"], "verbguard[gateway]"),
        ("aiohttp", ["fast:app", "--admin", "0"], "verbguard[gateway]"),
        ("uvicorn", ["fast:app"], "verbguard[gateway]"),
        ("granian", ["fast:app", "--server", "granian"], "pip install granian"),
    ],
)
def test_what_is_not_installed_is_named(tmp_path: Path, module: str, arguments: list[str], says: str) -> None:
    """One line says what to install."""
    apps.write(tmp_path)
    done = run("serve", *arguments, cwd=tmp_path, command=without(module))
    assert (done.returncode, done.stdout) == (2, "")
    assert says in done.stderr and "Traceback" not in done.stderr, done.stderr


# ---- the end


def in_flight(running: Running, service: Upstream, **headers: str) -> tuple[threading.Thread, list[Any]]:
    """A POST that waits in the service, and what its client gets: a status, or what cut it off."""
    got: list[Any] = []

    def client() -> None:
        try:
            got.append(running.ask("POST", "/held", b"x", **headers)[0].status)
        except (http.client.HTTPException, OSError) as error:
            got.append(type(error))

    thread = threading.Thread(target=client)
    thread.start()
    assert service.held.acquire(timeout=PATIENCE)
    return thread, got


def draining(running: Running) -> None:
    """Wait until it says that it is about to end."""
    while (found := running.health())[1]["status"] != "draining":
        assert running.process.poll() is None, running.output
    assert found[0] == 503


@pytest.mark.parametrize("server", SERVERS)
def test_running_requests_are_finished_and_recorded(tmp_path: Path, service: Upstream, server: tuple[str, ...]) -> None:
    """SIGTERM with a keyed POST in flight: its client gets the 201, the exit status is 0, and a new process on the same store
    replays it."""
    text = f"store = 'sqlite:///{tmp_path}/replays.db'\n[gateway]\nupstream = '{service.url}'"
    with gateway(tmp_path, *server, text=text) as running:
        thread, got = in_flight(running, service, Idempotency_Key="one", Host="api.example")
        running.process.send_signal(signal.SIGTERM)
        draining(running)
        service.release.set()
        thread.join(PATIENCE)
        assert got == [201]
        assert running.process.wait(PATIENCE) == 0, "".join(running.output)
    with gateway(tmp_path, *server, text=text) as running:
        answer, content = running.ask("POST", "/held", b"x", Idempotency_Key="one", Host="api.example")
        assert (answer.status, answer.headers["Idempotent-Replayed"], content) == (201, "true", b"x")
    assert service.seen == [("POST", "/held")]


@pytest.mark.parametrize("server", SERVERS)
@pytest.mark.parametrize("sig", [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_ends_it_at_once(
    tmp_path: Path, service: Upstream, server: tuple[str, ...], sig: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever cannot wait does not have to, although a request is running; nothing is left behind."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    with gateway(tmp_path, *server, "--upstream", service.url) as running:
        thread, got = in_flight(running, service)
        running.process.send_signal(sig)
        draining(running)
        assert running.stopped(sig) == 128 + sig
        service.release.set()
        thread.join(PATIENCE)
    assert got and got != [201]  # the connection was cut
    assert not list(tmp_path.glob("verbguard-*"))


@pytest.mark.parametrize("server", SERVERS)
def test_the_end_comes_when_the_time_is_over(tmp_path: Path, service: Upstream, server: tuple[str, ...]) -> None:
    """A request that takes longer than --drain does not keep the program."""
    with gateway(tmp_path, *server, "--upstream", service.url, "--drain", "1") as running:
        thread, got = in_flight(running, service)
        assert running.stopped() == 0
        service.release.set()
        thread.join(PATIENCE)


@pytest.mark.parametrize("server", SERVERS)
def test_what_is_cut_off_is_never_sent_again(tmp_path: Path, service: Upstream, server: tuple[str, ...]) -> None:
    """A keyed POST that outlasts --drain may have taken effect: its retry is told so, and the service never sees it twice."""
    text = f"store = 'sqlite:///{tmp_path}/replays.db'\n[gateway]\nupstream = '{service.url}'\n"
    text += "[default]\nreplay = { lease = 0.5 }"
    keyed = {"Idempotency_Key": "one", "Host": "api.example"}
    with gateway(tmp_path, *server, "--drain", "1", text=text) as running:
        thread, got = in_flight(running, service, **keyed)
        assert running.stopped() == 0
        thread.join(PATIENCE)
    with gateway(tmp_path, *server, text=text) as running:
        while True:
            answer, content = running.ask("POST", "/held", b"x", **keyed)
            assert answer.status == 409
            if json.loads(content)["rule"] != "idem-key-inflight-409":
                break
        assert json.loads(content)["rule"] == "idem-outcome-unknown"
    assert service.seen == [("POST", "/held")]


# ---- what operators see


def test_the_access_log(tmp_path: Path, service: Upstream) -> None:
    """A line for each request on stdout: what was refused and why, what was replayed, nothing that is secret."""
    text = f"[gateway]\nupstream = '{service.url}'\n[policies.'/orders']\nkind = 'collection'"
    with gateway(tmp_path, text=text) as running:
        running.ask("PUT", "/orders?token=secret", b"{}", Authorization="Bearer secret")
        for _ in range(2):
            running.ask("POST", "/orders", b"{}", Idempotency_Key="secret")
        running.ask("GET", "/a%0Ab")
        assert running.stopped() == 0
    lines = [line for line in running.output if re.match(r"\d{4}-\d\d-\d\dT", line)]
    parts = [re.sub(r"[\d.]+ms", "?ms", line.split(" ", 2)[2]).strip() for line in lines]
    refused, claimed, replayed, plain = parts
    assert re.fullmatch(r'"PUT /orders\?token=\*\*\* HTTP/1.1" 405 \d+ \?ms rule=put-no-collection', refused)
    assert re.fullmatch(r'"POST /orders HTTP/1.1" 201 2 \?ms upstream=\?ms (rule=\S+ )?claimed', claimed)
    assert re.fullmatch(r'"POST /orders HTTP/1.1" 201 2 \?ms rule=\S*idem-replay-result replayed', replayed)
    assert re.fullmatch(r'"GET /a%0Ab HTTP/1.1" 200 0 \?ms upstream=\?ms', plain)
    assert "secret" not in "".join(running.output)


def test_the_access_log_as_json_and_not_at_all(tmp_path: Path, service: Upstream) -> None:
    """--log-format json, and --no-access-log."""
    with gateway(tmp_path, "--upstream", service.url, "--log-format", "json") as running:
        running.ask("GET", "/a?b=1")
        assert running.stopped() == 0
    (line,) = [json.loads(line) for line in running.output if line.startswith("{")]
    assert (line["method"], line["target"], line["status"], line["bytes"]) == ("GET", "/a?b=1", 200, 0)
    with gateway(tmp_path, "--upstream", service.url, "--no-access-log") as running:
        running.ask("GET", "/a?b=1")
        assert running.stopped() == 0
    assert "/a?b=1" not in "".join(running.output)


APPS = [
    # module            what it serves with a guard
    ("fast:app", "fastapi"),
    ("flasky:app", "flask, over the bridge"),
    ("guarded_fast:app", "a guard of its own"),
    ("guarded_flask:app", "a guard of its own"),
    ("wrapped_flask:app", "a guard of its own"),
]


@pytest.mark.parametrize("target", [row[0] for row in APPS])
@pytest.mark.parametrize("workers", ["1", "2"])
def test_apps_are_watched_too(tmp_path: Path, target: str, workers: str) -> None:
    """Route, rule and claim of a request to an app are known, whoever installed its guard."""
    apps.write(tmp_path)
    path = {"guarded_fast:app": "/me", "guarded_flask:app": "/you"}.get(target, "/notes/{id}")
    with gateway(tmp_path, target, "--workers", workers) as running:
        answer, _ = running.ask("DELETE", path.format(id=7))
        assert answer.status == 405
        running.ask("GET", path.format(id=7))
        template = path.replace("{id}", "{id:int}") if "flasky" in target or "wrapped" in target else path
        series: dict[str, float] = {}
        while sum(series.values()) < 2:  # a request is reported when it is over, and its client may be sooner
            found = running.metrics()
            series = {name: value for name, value in found.items() if name.startswith("verbguard_requests_total")}
        assert running.stopped() == 0
    assert {re.search(r'template="([^"]*)"', name)[1] for name in series} <= {path, template}, series  # type: ignore[index]


@pytest.mark.parametrize("server", SERVERS)
def test_metrics_are_those_of_all_workers(tmp_path: Path, service: Upstream, server: tuple[str, ...]) -> None:
    """Whichever worker tells, and whichever worked."""
    text = f"[gateway]\nupstream = '{service.url}'\n[policies.'/orders/{{id}}']\nkind = 'item'"
    with gateway(tmp_path, *server, text=text) as running:
        for number in range(20):
            assert running.ask("PUT", f"/orders/{number % 5}", b"x")[0].status == 200
        thread, _ = in_flight(running, service, Idempotency_Key="held")
        puts = 'verbguard_requests_total{method="PUT",status="2xx",template="/orders/{id}"}'
        while running.metrics()[puts] < 20:
            pass
        totals = [running.metrics() for _ in range(6)]
        while (found := running.metrics()["verbguard_claims_in_flight"]) != 1:
            assert found == 0
        service.release.set()
        thread.join(PATIENCE)
        posts = 'verbguard_requests_total{method="POST",status="2xx",template="(unmapped)"}'
        while (found := running.metrics()).get(posts) != 1 or found["verbguard_claims_in_flight"]:
            pass
    for total in totals:
        assert total[puts] == 20
        assert total['verbguard_replays_total{template="/orders/{id}"}'] == 15
        assert total['verbguard_request_seconds_count{method="PUT"}'] == 20
        assert total["verbguard_upstream_seconds_count"] == 5


def test_health_of_store_and_upstream(tmp_path: Path) -> None:
    """503, with what is wrong: here nobody listens for either. The figures count both."""
    with upstream() as gone:
        url = gone.url
    text = f"store = 'redis://127.0.0.1:1/0'\n[gateway]\nupstream = '{url}'"
    (tmp_path / "verbguard.toml").write_text(text)
    ready = re.compile("Application startup complete")
    arguments = ("serve", "--port", "0", "--admin", "0", "--config", "verbguard.toml")
    with started(*arguments, cwd=tmp_path, until=ready) as (process, _, output):
        port, admin = (int(found[1]) for pattern in (LISTENS, ADMIN) if (found := pattern.search("".join(output))))
        running = Running(process, port, admin, output)
        status, words = running.health()
        assert (status, words["status"], words["store"]["ok"], words["upstream"]["ok"]) == (503, "failing", False, False)
        assert running.ask("POST", "/a", b"x", Idempotency_Key="one")[0].status == 502
        found = running.metrics()
        assert found['verbguard_upstream_errors_total{status="502"}'] == 1
        assert found['verbguard_store_errors_total{operation="claim"}'] == 1
