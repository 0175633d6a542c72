"""`verbguard demo`: the real command, and its judges by table."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from commands.running import ADDRESS, COLOUR, run, started, without

from verbguard.cli.client import Answer, Connection
from verbguard.cli.columns import Act, Result
from verbguard.cli.demo import exit_status
from verbguard.cli.judges import CROWD, Row, Seen
from verbguard.cli.scenes import SCENES, Scene


@pytest.fixture(scope="session")
def shown(tmp_path_factory: pytest.TempPathFactory) -> subprocess.CompletedProcess[str]:
    """What `verbguard demo` prints into a pipe."""
    return run("demo", cwd=tmp_path_factory.mktemp("demo"))


@pytest.fixture(scope="session")
def told(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What `verbguard demo --json` says."""
    done = run("demo", "--json", cwd=tmp_path_factory.mktemp("demo"))
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


def test_demo_succeeds(shown: subprocess.CompletedProcess[str]) -> None:
    """The demo ends with exit status 0, because the guarded column keeps every promise."""
    assert shown.returncode == 0, shown.stdout + shown.stderr
    assert f"guarded keeps {len(SCENES)} of {len(SCENES)} promises" in shown.stdout


def test_demo_is_readable(shown: subprocess.CompletedProcess[str]) -> None:
    """In a pipe the demo is plain text of at most 80 columns, with every scene's title in it."""
    assert COLOUR not in shown.stdout
    assert max(map(len, shown.stdout.splitlines())) <= 80
    assert all(scene.title in shown.stdout for scene in SCENES)


def test_demo_says_nothing_else(shown: subprocess.CompletedProcess[str]) -> None:
    """Beside the columns there is at most the sign that something takes its time: no server log, no warning."""
    assert shown.stderr in ("", "... starting two servers\n")


def test_demo_bare_column(told: list[dict[str, Any]]) -> None:
    """The bare app breaks all promises but the one that every server keeps by doing nothing."""
    assert [act["promise"] for act in told if act["bare"]["kept"]] == ["PUT A, B, A again: the last one wins"]


def test_demo_guarded_column(told: list[dict[str, Any]]) -> None:
    """The guarded app keeps every promise, with no complaint left."""
    assert [act["guarded"]["complaint"] for act in told] == [""] * len(SCENES)


def test_demo_counts_the_handlers(told: list[dict[str, Any]]) -> None:
    """How often each handler ran: bare for every request, guarded never for a refusal and once for repeats."""
    runs = [(act["bare"]["handler_ran"], act["guarded"]["handler_ran"]) for act in told]
    assert runs[:6] == [(1, 0), (2, 1), (3, 3), (2, 1), (CROWD + 1, 1), (1, 1)]


def test_demo_without_rich(tmp_path: Path) -> None:
    """Without rich the same demo is printed as plain text."""
    done = run("demo", cwd=tmp_path, command=without("rich"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"guarded keeps {len(SCENES)} of {len(SCENES)} promises" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80


def test_demo_in_ascii(tmp_path: Path) -> None:
    """Where the output knows only ASCII, the demo is still printed."""
    done = run("demo", cwd=tmp_path, PYTHONIOENCODING="ascii")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "ok: kept" in done.stdout


def test_demo_stops_on_interrupt(tmp_path: Path) -> None:
    """Ctrl-C stops the demo and both its servers, with the shell's status for it."""
    with started("demo", cwd=tmp_path, until=ADDRESS) as (process, address, output):
        process.send_signal(signal.SIGINT)
        assert process.wait() == 130, "".join(output)
    text = "".join(output)
    assert "Traceback" not in text, text
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", int(address[1]))) != 0


CONNECTED = "press(socket, 'create_connection')"
PRESSING = """
import atexit, signal, socket, threading
import click

def press(owner, name):
    real = getattr(owner, name)
    def then_pressed(*given, **named):
        value = real(*given, **named)
        signal.raise_signal(signal.SIGINT)
        return value
    setattr(owner, name, then_pressed)

signal.signal(signal.SIGINT, signal.default_int_handler)
{moments}
from verbguard.__main__ import main
main()
"""


@pytest.mark.parametrize(
    ("moments", "says"),
    [
        (["press(socket, 'create_server')"], "Stopped"),  # nobody would close the socket yet
        ([CONNECTED], "Stopped"),
        ([CONNECTED, "atexit.register(signal.raise_signal, signal.SIGINT)"], "Stopped"),  # again, at the very end
        ([CONNECTED, "press(threading.Thread, 'join')"], ""),  # again, while the servers go down
        (["press(click, 'group')"], ""),  # the command line is still being imported
    ],
)
def test_demo_stops_at_any_moment(tmp_path: Path, moments: list[str], says: str) -> None:
    """Ctrl-C in the middle of anything leaves nothing half done behind that Python would complain about."""
    text = PRESSING.format(moments="\n".join(moments))
    done = run("demo", cwd=tmp_path, command=(sys.executable, "-c", text))
    assert done.returncode == 130, done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr, done.stdout + done.stderr
    assert says in done.stderr


ORDER, OTHER = b'{"id":1}', b'{"id":2}'
ALL = "DELETE, GET, HEAD, OPTIONS, PUT"
ANN, BOB = b'{"name":"Ann","edits":1}', b'{"name":"Bob","edits":2}'
REPLAYED = (("idempotent-replayed", "true"),)
LATER = Answer(409, (("retry-after", "1"),))


def rows(*answers: Answer | tuple[Answer, ...]) -> tuple[Row, ...]:
    return tuple(("", answer if isinstance(answer, tuple) else (answer,)) for answer in answers)


def refused(allow: str) -> Answer:
    return Answer(405, (("allow", allow),))


RECORDED: list[tuple[int, int, tuple[Row, ...], str]] = [
    # scene, runs, answers as recorded, what the judge finds
    (0, 1, rows(Answer(200), Answer(200, content=b'{"customers":1}')), "1 of 3 left"),
    (0, 0, rows(refused("GET"), Answer(200, content=b'{"customers":3}')), "not refused"),
    (0, 0, rows(refused("GET, HEAD, OPTIONS, POST, PUT"), Answer(200, content=b'{"customers":3}')), "not refused"),
    (0, 0, rows(refused("GET, HEAD, OPTIONS, POST"), Answer(200, content=b'{"customers":0}')), "list changed"),
    (0, 0, rows(refused("GET, HEAD, OPTIONS, POST"), Answer(200, content=b'{"customers":3}')), ""),
    (1, 2, rows(Answer(200, (), ANN), Answer(200, (), BOB), Answer(200, (), BOB)), "second edit"),
    (1, 1, rows(Answer(200, (), ANN), Answer(204), Answer(200, (), ANN)), "another answer"),
    (1, 1, rows(Answer(200, (), ANN), Answer(200, (), ANN), Answer(200, (), ANN)), "does not say"),
    (1, 1, rows(Answer(200, (), ANN), Answer(200, REPLAYED, ANN), Answer(200, (), ANN)), ""),
    (2, 2, rows(*[Answer(200, (), ANN)] * 3, Answer(200, (), BOB)), "last PUT did not win"),
    (2, 2, rows(*[Answer(200, (), ANN)] * 4), "three runs"),
    (2, 3, rows(*[Answer(200, (), ANN)] * 4), ""),
    (3, 2, rows(Answer(201, (), ORDER), Answer(201, (), OTHER)), "second order"),
    (3, 1, rows(Answer(201, (), ORDER), LATER), "another answer"),
    (3, 1, rows(Answer(201, (), ORDER), Answer(201, REPLAYED, ORDER)), ""),
    (4, CROWD, rows((Answer(201, (), ORDER),) * CROWD, Answer(201, (), OTHER)), "one key"),
    (4, 1, rows((LATER,) * CROWD, Answer(201, (), ORDER)), "neither"),
    (4, 1, rows((Answer(201, (), ORDER), *(Answer(409),) * (CROWD - 1)), Answer(201, (), ORDER)), "neither"),
    (4, 1, rows((Answer(201, (), ORDER), *(LATER,) * (CROWD - 1)), Answer(201, (), OTHER)), "differ"),
    (4, 1, rows((Answer(201, (), ORDER), *(LATER,) * (CROWD - 1)), Answer(201, (), ORDER)), ""),
    (5, 1, rows(Answer(201, (), ORDER), ()), "guess"),
    (5, 1, rows(Answer(201, (("location", "/orders/9"),), ORDER), Answer(404)), "leads nowhere"),
    (5, 1, rows(Answer(201, (("location", "/orders/1"),), ORDER), Answer(200, (), ORDER)), ""),
    (6, 1, rows(Answer(200), Answer(405)), "HEAD says 405"),
    (6, 2, rows(Answer(200, (("content-type", "a/b"),)), Answer(200)), "without the content"),
    (6, 2, rows(Answer(200, (("content-length", "9"),)), Answer(200, (("content-length", "0"),))), "length"),
    (6, 2, rows(Answer(200, (("content-length", "9"),)), Answer(200, (("content-length", "9"),))), ""),
    (7, 0, rows(refused("GET")), "names only GET"),
    (7, 0, rows(Answer(404)), "without a list"),
    (7, 0, rows(Answer(204, (("allow", "GET, HEAD, OPTIONS, PUT"),))), "wrong about DELETE"),
    (7, 0, rows(Answer(204, (("allow", ALL),))), ""),
    (8, 1, rows(Answer(204), Answer(0, content=b"{}HTTP/1.1 200 OK")), "cannot be read"),
    (8, 1, rows(Answer(204, (("content-length", "2"),)), Answer(200)), "Content-Length"),
    (8, 1, rows(Answer(204), Answer(200)), ""),
    (9, 1, rows(Answer(205, content=b"{}"), Answer(200)), "no content"),
    (9, 1, rows(Answer(205), Answer(0)), "cannot be read"),
    (9, 1, rows(Answer(204), Answer(200)), ""),
]


@pytest.mark.parametrize(("number", "runs", "answers", "finds"), RECORDED)
def test_judges(number: int, runs: int, answers: tuple[Row, ...], finds: str) -> None:
    """Each judge names what is wrong with recorded answers, and is quiet about those that keep the promise."""
    complaint = SCENES[number].judge(Seen(answers, runs))
    assert finds in complaint and bool(finds) == bool(complaint)


def test_every_judge_speaks_and_is_quiet() -> None:
    """The table above has at least one case of either sort for every scene."""
    assert {(number, bool(finds)) for number, _, _, finds in RECORDED} == {
        (number, speaks) for number in range(len(SCENES)) for speaks in (True, False)
    }


@pytest.mark.parametrize("broken", range(len(SCENES)))
def test_demo_fails_with_one_broken_promise(broken: int) -> None:
    """A guard that gave one recorded bare answer would end the demo with a status other than 0."""
    assert exit_status([act(number, number == broken) for number in range(len(SCENES))]) == 1


def test_demo_fails_with_nothing_to_show() -> None:
    """A demo that played no scene has proved nothing."""
    assert exit_status([]) == 1


def act(number: int, broken: bool) -> Act:
    def result(wanted: bool) -> Result:
        runs, answers = next((case[1], case[2]) for case in RECORDED if case[0] == number and bool(case[3]) == wanted)
        scene: Scene = SCENES[number]
        return Result(Seen(answers, runs), scene.judge(Seen(answers, runs)))

    return Act(SCENES[number], result(True), result(broken))


def test_client_shows_a_broken_connection() -> None:
    """Content after a 204 is shown as what came where the next answer should have started."""

    def serve() -> None:
        peer, _ = listener.accept()
        with peer:
            peer.recv(65536)
            peer.sendall(b"HTTP/1.1 204 No Content\r\nContent-Length: 4\r\n\r\noops")
            peer.recv(65536)
            peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = threading.Thread(target=serve)
        server.start()
        with Connection(listener.getsockname()[1]) as connection:
            assert connection.ask("DELETE", "/x").status == 204
            after = connection.ask("GET", "/x")
        server.join()
    assert after.status == 0
    assert after.content.startswith(b"oopsHTTP/1.1 200 OK")
