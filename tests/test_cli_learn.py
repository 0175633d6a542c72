"""`verbguard learn`: from a file or from what passes to a proposal, in processes and over real sockets."""

from __future__ import annotations

import gzip
import http.client
import json
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from commands.running import ADDRESS, COMMAND, PATIENCE, ask, environment, run, served, without

from verbguard import Kind
from verbguard.config import loads

SERVICE = """
import json
orders = {}
def application(environ, start_response):
    method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
    content = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    status, fields, answer = "404 Not Found", [], b""
    if (method, path) == ("POST", "/orders"):
        orders[len(orders) + 1] = content
        status, answer = "201 Created", json.dumps({"number": len(orders), "secret": "s3cr3t"}).encode()
        fields = [("Content-Type", "application/json"), ("Location", f"http://{environ['HTTP_HOST']}/orders/{len(orders)}")]
    elif path == "/orders" or path.startswith("/orders/") and method in ("GET", "PUT"):
        status, answer = "200 OK", b"{}"
    start_response(status, [*fields, ("Content-Length", str(len(answer)))])
    return [answer]
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "service.py").write_text(SERVICE)
    return tmp_path


def entry(method: str, url: str, status: int, location: str | None = None, text: str | None = None) -> dict[str, Any]:
    headers = [] if location is None else [{"name": "Location", "value": location}]
    return {
        "request": {"method": method, "url": url, "headers": []},
        "response": {"status": status, "headers": headers, "content": {} if text is None else {"text": text}},
    }


def recording(origin: str = "https://shop.example") -> list[dict[str, Any]]:
    return [
        made
        for id in (1, 2, 3)
        for made in (
            entry("POST", f"{origin}/orders", 201, f"/orders/{id}", json.dumps({"number": id})),
            entry("PUT", f"{origin}/orders/{id}?a=secret", 200),
        )
    ]


def write(path: Path, *entries: dict[str, Any]) -> Path:
    data = json.dumps({"log": {"entries": entries}}).encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def test_a_file_becomes_a_proposal(folder: Path) -> None:
    """What is printed is a verbguard.toml that `routes` shows and a guard takes."""
    write(folder / "shop.har.gz", *recording())
    done = run("learn", "--har", "shop.har.gz", cwd=folder)
    assert (done.returncode, done.stderr) == (0, "")
    config = loads(done.stdout)
    assert {path: policy.kind for path, policy in config.policies.items()} == {
        "/orders": Kind.COLLECTION,
        "/orders/{id}": Kind.ITEM,
    }
    assert config.policies["/orders"].location == "/orders/{number}"
    assert "6 exchanges at 4 paths (shop.har.gz)" in done.stdout
    assert "secret" not in done.stdout
    (folder / "learned.toml").write_text(done.stdout)
    rows = json.loads(run("routes", "--config", "learned.toml", "--json", cwd=folder).stdout)
    assert [row["kind"] for row in rows] == ["collection", "item"]
    with served("service:application", "--config", "learned.toml", cwd=folder) as service:
        refused, _ = ask(service, "PUT", "/orders", b"[]")
        assert (refused.status, refused.headers["Allow"]) == (405, "POST, OPTIONS")


def test_several_files_and_services(folder: Path) -> None:
    """The service with most entries is taken, and said; --origin takes another; files are added up."""
    write(folder / "a.har", *recording(), entry("PUT", "https://cdn.example/x", 200))
    write(folder / "b.har", *recording("https://SHOP.example:443"))
    both = run("learn", "--har", "a.har", "--har", "b.har", cwd=folder)
    assert "12 exchanges at 4 paths (a.har, b.har)" in both.stdout
    assert "Taken: https://shop.example (12 entries)" in both.stderr
    assert "https://cdn.example (1)" in both.stderr
    other = run("learn", "--har", "a.har", "--origin", "https://cdn.example/", cwd=folder)
    assert (other.stderr, 'kind = "singleton"' in other.stdout, "/orders" in other.stdout) == ("", True, False)
    piped = subprocess.run(
        [*COMMAND, "learn", "--har", "-"],
        input=(folder / "a.har").read_bytes(),
        cwd=folder,
        env=environment(),
        capture_output=True,
    )
    assert (piped.returncode, b"/orders/{id}" in piped.stdout) == (0, True)


def test_how_sure_a_line_must_be_is_said(folder: Path) -> None:
    """--sure moves the border between lines and comments."""
    write(folder / "a.har", entry("PUT", "http://h/me", 200))
    assert loads(run("learn", "--har", "a.har", cwd=folder).stdout).policies == {}
    assert loads(run("learn", "--har", "a.har", "--sure", "0.6", cwd=folder).stdout).policies.keys() == {"/me"}


MISTAKES = [  # arguments, exit status, what is said
    ([], 2, "--har FILE, or --listen PORT with --upstream URL"),
    (["--har", "a.har", "--listen", "1"], 2, "--har FILE, or --listen PORT"),
    (["--har", "a.har", "--upstream", "http://h"], 2, "belong to --listen"),
    (["--har", "a.har", "--for", "3"], 2, "belong to --listen"),
    (["--har", "nothing.har"], 2, "nothing.har cannot be read: No such file"),
    (["--har", "broken.har"], 2, "broken.har: entry 1: request = null: an object"),
    (["--har", "empty.har"], 1, "Nothing to learn from"),
    (["--har", "a.har", "--origin", "https://shop.exmple"], 2, "did you mean 'https://shop.example'?"),
    (["--har", "a.har", "--sure", "2"], 2, "0<=x<=1"),
    (["--listen", "8001"], 2, "name it with --upstream"),
    (["--listen", "here", "--upstream", "http://127.0.0.1:1"], 2, "is no [HOST:]PORT, such as 9090"),
    (["--listen", "99999", "--upstream", "http://127.0.0.1:1"], 2, "is no [HOST:]PORT, such as 9090"),
    (["--listen", "0", "--upstream", "ftp://127.0.0.1"], 2, "upstream = 'ftp://127.0.0.1'"),
    (["--listen", "0", "--upstream", "http://127.0.0.1:1", "--requests", "0"], 2, "x>=1"),
]


@pytest.mark.parametrize(("arguments", "status", "said"), MISTAKES, ids=[" ".join(row[0]) or "nothing" for row in MISTAKES])
def test_mistakes(folder: Path, arguments: list[str], status: int, said: str) -> None:
    """One line that says what is wrong, and an exit status: 2 for how it was called, 1 for nothing found."""
    write(folder / "a.har", *recording())
    write(folder / "empty.har", entry("GET", "http://h/", 0))
    write(folder / "broken.har", {})
    done = run("learn", *arguments, cwd=folder)
    assert done.returncode == status
    assert said in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize("module", ["aiohttp", "uvicorn"])
def test_without_an_extra(folder: Path, module: str) -> None:
    """A file needs neither a server nor a client; --listen says what to install."""
    write(folder / "a.har", *recording())
    assert run("learn", "--har", "a.har", cwd=folder, command=without(module)).returncode == 0
    done = run("learn", "--listen", "0", "--upstream", "http://127.0.0.1:1", cwd=folder, command=without(module))
    assert (done.returncode, "pip install 'verbguard[gateway]'" in done.stderr) == (2, True)


# ---- listening


@contextmanager
def learning(upstream: str, *arguments: str, cwd: Path) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A running `verbguard learn --listen`, and its port."""
    process = subprocess.Popen(
        [*COMMAND, "learn", "--listen", "0", "--upstream", upstream, *arguments],
        cwd=cwd, env=environment(PYTHONUNBUFFERED="1"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        # A test run in the background hands down an ignored Ctrl-C.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip
    alarm = threading.Timer(PATIENCE, process.kill)
    alarm.start()
    try:
        assert process.stderr is not None
        line = process.stderr.readline()
        found = ADDRESS.search(line)
        assert found is not None, line + process.stderr.read()
        yield process, int(found[1])
    finally:
        alarm.cancel()
        process.kill()
        process.communicate()


@contextmanager
def behind(folder: Path, *arguments: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """The service, and `verbguard learn` in front of it."""
    with (
        served("service:application", "--profile", "observe", cwd=folder) as service,
        learning(f"http://127.0.0.1:{service.port}", *arguments, cwd=folder) as found,
    ):
        yield found


def work(port: int, times: Sequence[int] = (1, 2, 3)) -> list[int]:
    """A client's day; the statuses it saw."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    found = []
    for number in times:
        for method, path, content in (("POST", "/orders?token=s3cr3t", b"%d" % number), ("PUT", f"/orders/{number}", b"x")):
            answer, _ = ask(connection, method, path, content, Authorization="s3cr3t", Idempotency_Key=f"{method}{number}")
            found.append(answer.status)
    connection.close()
    return found


def proposed(process: subprocess.Popen[str]) -> tuple[str, str]:
    output, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, errors
    assert set(loads(output).policies) == {"/orders", "/orders/{id}"}
    assert loads(output).policies["/orders"].location == "/orders/{number}"
    assert "s3cr3t" not in output
    return output, errors


def test_listening_until_enough_was_seen(folder: Path) -> None:
    """What passes reaches the service and comes back as it is; after --requests the proposal is printed, and can be served."""
    with served("service:application", "--profile", "observe", cwd=folder) as service:
        upstream = f"http://127.0.0.1:{service.port}"
        with learning(upstream, "--requests", "6", cwd=folder) as (process, port):
            assert work(port) == [201, 200] * 3
            output, errors = proposed(process)
        assert "6 exchanges at 4 paths" in output
        assert "# replay = { required = true }  # seen: all 3 writes had an Idempotency-Key" in output
        assert "Recorded: 6 exchanges at 4 paths." in errors
        (folder / "learned.toml").write_text(output)
        with served("--config", "learned.toml", cwd=folder) as gateway:
            assert work(gateway.port, [4]) == [201, 200]
            refused, _ = ask(gateway, "PUT", "/orders", b"[]")
            first, second = (ask(gateway, "PUT", "/orders/4", b"y")[0] for _ in range(2))
    assert (refused.status, refused.headers["Allow"]) == (405, "POST, OPTIONS")
    assert (first.headers["Idempotent-Replayed"], second.headers["Idempotent-Replayed"]) == (None, "true")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])
def test_listening_until_somebody_ends_it(folder: Path, number: signal.Signals) -> None:
    """A signal ends the recording, and the proposal is printed all the same."""
    with behind(folder) as (process, port):
        assert work(port) == [201, 200] * 3
        process.send_signal(number)
        proposed(process)


def test_listening_for_a_time(folder: Path) -> None:
    """--for ends by itself; with nothing recorded there is nothing to propose."""
    with learning("http://127.0.0.1:1", "--for", "0.5", cwd=folder) as (process, _):
        output, errors = process.communicate(timeout=PATIENCE)
    assert (process.returncode, output) == (1, "")
    assert "Nothing to learn from" in errors


def test_a_service_that_is_down_is_a_502_and_teaches_nothing(folder: Path) -> None:
    """The client is told; the proposal has no resource of it."""
    with learning("http://127.0.0.1:1", "--requests", "1", cwd=folder) as (process, port):
        assert work(port, [1])[0] == 502
        output, _ = process.communicate(timeout=PATIENCE)
    assert (process.returncode, loads(output).policies) == (0, {})


def test_import_of_the_library_does_not_load_learning(folder: Path) -> None:
    """`import verbguard` and `guard` know nothing of recordings."""
    names = "[m for m in sys.modules if m.startswith(('verbguard.learn', 'verbguard.openapi'))]"
    text = f"import sys, verbguard; verbguard.guard(lambda e, s: []); print({names})"
    assert run(cwd=folder, command=(sys.executable, "-c", text)).stdout == "[]\n"
