"""`verbguard store`: what operators read of every store, and what they can do to an entry by hand."""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, nullcontext
from hashlib import sha256
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from commands.running import COLOUR, COMMAND, run, without
from shared.files import fresh_file
from shared.operated import World

from verbguard import stores
from verbguard.cli import entries, program, terminal
from verbguard.errors import StoreError
from verbguard.records import Claim, Done, Record, State, Won, whole
from verbguard.stores.sealing import digest_of, new_key

PATIENCE = 10.0  # seconds: only what hangs needs them
SHORT = 0.02  # seconds of a lease that is to run out
KEEP = 86_400.0
NUMBERS = count(1)

CREATED = Record(
    201,
    [(b"content-type", b"application/json"), (b"location", b"/orders/7"), (b"link", b"</a>; rel=x"), (b"link", b"</b>; rel=y")],
    '{"id": 7, "name": "café \x1b[31m"}\nsecond line'.encode(),
)


# ---- the stores


def a_world() -> str:
    name = f"world-{next(NUMBERS)}"
    World.known[name] = World()
    return f"model://{name}"


def a_file() -> str:
    return f"sqlite:///{fresh_file()}"


URLS: dict[str, Callable[[], str]] = {"model": a_world, "sqlite": a_file}
if find_spec("verbguard.stores.redis") is not None:  # each kind of store takes its place when it is there
    from shared.redis_server import any_redis
    from shared.redis_stores import prefix

    URLS["redis"] = lambda: f"{any_redis()}?prefix={prefix()}"
TABLES = URLS.keys() - {"redis"}  # stores that need something before they can be used


@pytest.fixture(autouse=True)
def model_scheme(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command line opens the model like any other store."""
    monkeypatch.setitem(stores._SCHEMES, "model", ("shared.operated", "OperatedModel", ""))
    for name in ("VERBGUARD_STORE", "VERBGUARD_STORE_KEYS"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(params=URLS)
def url(request: pytest.FixtureRequest) -> str:
    """The URL of a store that is new and ready, one for every kind."""
    made = URLS[request.param]()
    with at(made) as store:
        store.initialise()
    return made


@contextmanager
def at(url: str, **given: Any) -> Iterator[Any]:
    store: Any = stores.open(url, **given)
    with closing(store) if hasattr(store, "close") else nullcontext():
        yield store


def who(name: str) -> bytes:
    """The principal of somebody whom the application's own callable calls so; of nobody for an empty name."""
    return sha256(name.encode()).digest()[:16] if name else b""


def asked(key: str, path: str = "/orders", *, method: str = "POST", name: str = "alice", lease: float = 60.0) -> Claim:
    ident = f"{name} {key or path}".encode()
    print_ = sha256(path.encode()).digest()
    return Claim(ident, print_, whole(path), not key, not key, lease, KEEP, who(name), key.encode(), method, path)


def won(store: Any, claim: Claim) -> int:
    outcome = store.claim(claim)
    assert isinstance(outcome, Won), outcome
    return outcome.token


def done(store: Any, claim: Claim, record: Record = CREATED) -> None:
    assert store.save(claim, won(store, claim), record)


def cut_off(store: Any, claim: Claim) -> int:
    """A claim whose process is lost: its lease runs out by the store's own clock."""
    token = won(store, claim)
    name, end = digest_of(claim.ident), time.monotonic() + PATIENCE
    while store.show(name)[0].state != "unknown":
        assert time.monotonic() < end
    return token


def filled(url: str) -> dict[str, str]:
    """One entry of every state and look; what each is for -> its name."""
    claims = {
        "created": asked("k-created"),
        "deleted": asked("k-deleted", "/orders/7", method="DELETE", name="bob"),
        "picture": asked("k-picture", "/customers/5/picture", name="bob"),
        "large": asked("k-large", "/large", name="bob"),
        "running": asked("k-running", "/orders/8:publish", method="PATCH", name=""),
        "unknown": asked("k-unknown", lease=SHORT),
        "keyless": asked("", "/things/\x1b[2J\u202eab", method="PUT", name="carol"),
    }
    with at(url) as store:
        done(store, claims["created"])
        done(store, claims["deleted"], Record(204, [], b""))
        done(store, claims["picture"], Record(200, [(b"content-type", b"image/png")], bytes(range(256)) * 10))
        done(store, claims["large"], Record(200, [(b"location", b"/l")], b"", State.TOO_LARGE))
        won(store, claims["running"])
        cut_off(store, claims["unknown"])
        done(store, claims["keyless"], Record(200, [], b"a"))
    return {word: digest_of(claim.ident).hex() for word, claim in claims.items()}


# ---- the command


def told(*arguments: str, status: int = 0, columns: int = 100, says: str | None = None, **environment: str) -> Result:
    """What the command prints, in this process; ends with this exit status."""
    surroundings = {"COLUMNS": str(columns), "TERM": "dumb", **environment}
    result = CliRunner().invoke(program, ["store", *arguments], input=says, env=surroundings)
    assert isinstance(result.exception, (SystemExit, type(None))), result.exception
    assert result.exit_code == status, result.output
    if status:
        assert result.stderr.splitlines()[-1].startswith("Error: ")
    return result


def data(*arguments: str, **environment: str) -> Any:
    return json.loads(told(*arguments, "--json", **environment).stdout)


def names(found: Iterable[dict[str, Any]]) -> set[str]:
    return {row["name"] for row in found}


# ---- ls


def test_ls_shows_every_entry(url: str) -> None:
    """A line for each, with its state, request, answer and whose it is; what waits for an operator comes first."""
    held = filled(url)
    output = told("ls", url).stdout
    rows = [line.split() for line in output.splitlines() if re.match(r"[0-9a-f]{12} ", line)]
    assert {row[0] for row in rows} == {name[:12] for name in held.values()}
    assert [row[1] for row in rows] == ["unknown", "running", *["done"] * 5]
    by_name = {row[0]: row[2:] for row in rows}
    assert by_name[held["created"][:12]][:5] == ["POST", "/orders", "yes", who("alice").hex()[:8], "201,"]
    assert by_name[held["created"][:12]][-2:] == ["23", "h"]
    assert by_name[held["running"][:12]][2:4] == ["yes", "nobody"]
    assert by_name[held["keyless"][:12]][2] == "no"
    assert "7 entries: 1 unknown, 1 running, 5 done." in output


def test_nothing_of_a_client_reaches_the_terminal(url: str) -> None:
    """Control characters of a path are shown, not obeyed; keys and credentials are not there to be shown."""
    filled(url)
    for output in (told("ls", url).stdout, told("ls", url, "--json").stdout):
        assert "\x1b" not in output and "\u202e" not in output and "k-created" not in output
    assert r"/things/\x1b[2J\u202eab" in told("ls", url).stdout


def test_ls_as_data(url: str) -> None:
    """--json has every entry whole."""
    held = filled(url)
    rows = {row["name"]: row for row in data("ls", url)}
    assert rows.keys() == set(held.values())
    row = rows[held["created"]]
    assert (row["state"], row["method"], row["path"], row["status"]) == ("done", "POST", "/orders", 201)
    assert row["principal"] == who("alice").hex() and len(row["key"]) == 32
    assert row["size"] >= len(CREATED.body) and KEEP - 60 < row["left"] <= KEEP
    assert (rows[held["running"]]["status"], rows[held["keyless"]]["key"]) == (None, None)


FILTERS = [
    (["--state", "unknown"], {"unknown"}),
    (["--state", "done", "--principal", "bob"], {"deleted", "picture", "large"}),
    (["--key", "k-created"], {"created"}),
    (["--key", '"k-created"'], {"created"}),
    (["--key", "k"], set()),
    (["--principal", "alice"], {"created", "unknown"}),
    (["--principal", who("alice").hex()], {"created", "unknown"}),
    (["--principal", who("alice").hex()[:8].upper()], {"created", "unknown"}),
    (["--principal", "ALICE"], set()),
    (["--principal", ""], {"running"}),
    (["--target", "/orders"], {"created", "unknown", "deleted", "running"}),
    (["--target", "/orders/"], {"created", "unknown", "deleted", "running"}),
    (["--target", "/orders/7"], {"deleted"}),
    (["--target", "/order"], set()),
    (["--target", "/orders/{id}"], {"deleted", "running"}),
    (["--target", "/orders/{id:int}:publish"], {"running"}),
    (["--target", "/customers/{id}/picture"], {"picture"}),
    (["--target", "/customers"], {"picture"}),
    (["--target", "/customers/{rest:path}"], {"picture"}),
    (["--target", "/{any}"], {"created", "unknown", "deleted", "running", "picture", "large", "keyless"}),
    (["--target", "/orders", "--key", "k-large"], set()),
]


def test_filters(url: str) -> None:
    """By state, key in clear, principal in two spellings, path or template; several of them narrow."""
    held = filled(url)
    for options, words in FILTERS:
        assert names(data("ls", url, *options)) == {held[word] for word in words}, options
    assert "holds nothing like that" in told("ls", url, "--key", "other").stdout


def test_limit(url: str) -> None:
    """--limit shows the most urgent, and says how many there are."""
    held = filled(url)
    output = told("ls", url, "--limit", "2").stdout
    assert [word for word, name in held.items() if name[:12] in output] == ["running", "unknown"]
    assert "7 entries" in output and "The first 2 are shown" in output
    assert names(data("ls", url, "--limit", "1")) == {held["unknown"]}


def test_an_empty_store(url: str) -> None:
    """A store that holds nothing says so, in words and in data."""
    assert "holds nothing." in told("ls", url).stdout
    assert data("ls", url) == [] == data("audit", url)
    assert "Nobody" in told("audit", url).stdout


# ---- show


def test_show_tells_everything(url: str) -> None:
    """The page of an entry has its request, whose it is, the fields in their order, and the content, escaped."""
    held = filled(url)
    output = told("show", url, held["created"][:12]).stdout
    for part in ("POST /orders\n", held["created"], who("alice").hex(), "done; kept for 23 h", "201, ", "/orders/7"):
        assert part in output
    assert output.index("</a>; rel=x") < output.index("</b>; rel=y")
    assert '{"id": 7, "name": "café \\x1b[31m"}\nsecond line\n' in output


SHOWN = [
    ("picture", "2.6 kB that are no text"),
    ("large", "larger than the bound"),
    ("deleted", "no content"),
    ("running", "its lease has 59 s left"),
    ("unknown", "nobody can tell how far it came; remembered for 23 h"),
    ("running", "nobody's"),
    ("keyless", "none; the request itself is the key"),
    ("keyless", r"PUT /things/\x1b[2J\u202eab"),
]


def test_show_says_what_is_not_there(url: str) -> None:
    """No answer yet, none kept, none that is text: each is told."""
    held = filled(url)
    for word, part in SHOWN:
        assert part in told("show", url, held[word]).stdout, word


def test_a_nul_is_no_text(url: str) -> None:
    """Content that happens to decode is not text for that."""
    with at(url) as store:
        done(store, asked("k"), Record(200, [], b"a\0b"))
    output = told("show", url, digest_of(asked("k").ident).hex()).stdout
    assert "3 B that are no text" in output


def test_show_as_data(url: str) -> None:
    """--json has the whole answer; content that is no text in base64."""
    held = filled(url)
    answer = data("show", url, held["created"])["answer"]
    assert answer["headers"] == [[name.decode(), value.decode()] for name, value in CREATED.headers]
    assert (answer["status"], answer["kept"], answer["content"]) == (201, "whole", CREATED.body.decode())
    picture = data("show", url, held["picture"])["answer"]
    assert (picture["content"], picture["content_base64"][:8]) == (None, "AAECAwQF")
    assert data("show", url, held["running"])["answer"] is None


def test_a_long_answer_is_cut(url: str) -> None:
    """Only the beginning of a long content is shown, and its size."""
    with at(url) as store:
        done(store, asked("long"), Record(200, [], b"line\n" * 1_000))
        done(store, asked("wide"), Record(200, [], b"x" * 5_000))
    for key in ("long", "wide"):
        output = told("show", url, data("ls", url, "--key", key)[0]["name"]).stdout
        assert "... 5.0 kB in all" in output and len(output) < 2_000


def test_encrypted_answers(url: str, tmp_path: Path) -> None:
    """Without the key an answer is told to be encrypted; a key file, the environment and an older key of a list open it."""
    old, new = new_key(), new_key()
    with at(url, keys=[old]) as store:
        done(store, asked("k"))
    name = digest_of(asked("k").ident).hex()
    for environment in ({}, {"VERBGUARD_STORE_KEYS": new}):
        closed = told("show", url, name, **environment).stdout
        assert "encrypted, and no key given here opens it" in " ".join(closed.split()) and "second line" not in closed
        assert data("show", url, name, **environment)["answer"]["kept"] == "sealed"
    assert "second line" in told("show", url, name, VERBGUARD_STORE_KEYS=f"{new}, {old}").stdout
    file = tmp_path / "keys.txt"
    file.write_text(f"# the newest first\n{new}\n\n{old}\n")
    assert "second line" in told("show", url, name, "--key-file", str(file)).stdout
    assert "second line" not in told("show", url, name, "--key-file", str(file)).stderr


KEY_FILES = [
    (None, "No such file"),
    ("", "holds no key"),
    ("# nothing\n", "holds no key"),
    ("c0ffee\n", "encryption key 1"),
]


@pytest.mark.parametrize(("text", "says"), KEY_FILES)
def test_mistakes_in_a_key_file(tmp_path: Path, text: str | None, says: str) -> None:
    """A key file that cannot be used is told, and no message shows a key."""
    file = tmp_path / "keys.txt"
    if text is not None:
        file.write_text(text)
    error = told("stats", a_file(), "--key-file", str(file), status=2).stderr
    assert says in error and "c0ffee" not in error


# ---- names


def alike() -> tuple[Claim, Claim]:
    """Two claims whose names begin with the same four digits."""
    seen: dict[bytes, Claim] = {}
    for number in count():
        claim = asked(f"alike-{number}")
        beginning = digest_of(claim.ident)[:2]
        if beginning in seen:
            return seen[beginning], claim
        seen[beginning] = claim
    raise AssertionError


def test_a_name_of_two_entries_names_none(url: str) -> None:
    """Digits that two entries share name neither: both are told, and nothing is done."""
    both = alike()
    with at(url) as store:
        for claim in both:
            done(store, claim)
    digits = [digest_of(claim.ident).hex() for claim in both]
    for command in (["show"], ["evict"], ["complete", "--status", "200"]):
        error = told(command[0], url, digits[0][:4], *command[1:], status=2).stderr
        assert all(each[:20] in error for each in digits)
    assert len(data("ls", url)) == 2
    told("show", url, digits[0][:20])


def test_a_name_of_no_entry(url: str) -> None:
    """A name that no entry has is told, with what was probably meant; exit status 1."""
    held = filled(url)
    mistyped = held["created"][:8] + ("0" if held["created"][8] != "0" else "1")
    for command in (["show"], ["evict"], ["complete", "--status", "200"]):
        error = told(command[0], url, mistyped, *command[1:], status=1).stderr
        assert held["created"][:20] in error and "POST /orders" in error
    free = next(f"{n:04x}" for n in range(1 << 16) if not any(name.startswith(f"{n:04x}") for name in held.values()))
    assert "verbguard store ls" in told("show", url, free, status=1).stderr
    assert len(data("ls", url)) == len(held)


NAMES: list[tuple[Sequence[str], str]] = [
    (["show"], "Name an entry"),
    (["show", "aaaa", "bbbb"], "Name one entry"),
    (["show", "abc"], "at least 4"),
    (["show", "nothex"], "at least 4"),
    (["show", "a" * 65], "at least 4"),
    (["complete", "--status", "200"], "Name an entry"),
    (["evict"], "either names"),
    (["evict", "aaaa", "--state", "done"], "either names"),
    (["ls", "--target", "orders"], "slash"),
    (["ls", "--key", ""], "--key: "),
    (["ls", "--key", "a,b"], "--key: "),
    (["ls", "--key", "é"], "--key: "),
]


@pytest.mark.parametrize(("arguments", "says"), NAMES)
def test_mistakes_are_one_line(arguments: Sequence[str], says: str) -> None:
    """A command that cannot be meant is one line that says what can, and exit status 2."""
    result = told(*arguments, status=2, VERBGUARD_STORE=a_world())
    assert result.stdout == "" and len(result.stderr.splitlines()) == 1 and says in result.stderr


# ---- evict


def audit_of(url: str) -> list[tuple[str, str]]:
    return [(line["what"], line["name"]) for line in data("audit", url)]


def test_an_evicted_key_is_new(url: str) -> None:
    """Taking one entry out asks nothing, says what it means, and leaves a line with who did it; a retry runs."""
    held = filled(url)
    output = told("evict", url, held["created"][:12], LOGNAME="olga").stdout
    assert "Evicted 1 entry" in output and "runs" in output
    with at(url) as store:
        assert isinstance(store.claim(asked("k-created")), Won)
    assert audit_of(url) == [("evict", held["created"])]
    assert data("audit", url)[0]["who"].startswith("olga@")
    line = told("audit", url).stdout.splitlines()[-1]
    assert "olga@" in line and "evict" in line and held["created"][:12] in line
    told("evict", url, held["deleted"], LOGNAME="otto")
    assert [line["who"][:5] for line in data("audit", url)] == ["otto@", "olga@"]
    assert "The latest 1 of 2" in told("audit", url, "--limit", "1").stdout


def test_evicting_several_is_asked(url: str) -> None:
    """More than one entry is shown first; only a yes takes them out."""
    held = filled(url)
    options = ["evict", url, "--principal", "bob"]
    for answer, status in (("n\n", 1), ("\n", 1), (None, 2)):
        result = told(*options, says=answer, status=status)
        assert "Evict 3 entries?" in result.stdout and held["deleted"][:12] in result.stdout
        assert "evicted" in result.stderr and len(data("ls", url)) == len(held)
    assert "Evicted 3" in told(*options, says="y\n").stdout
    assert names(data("ls", url)) == {name for word, name in held.items() if word not in ("deleted", "picture", "large")}
    assert len(audit_of(url)) == 3


def test_yes_asks_nothing(url: str) -> None:
    """--yes is for scripts."""
    held = filled(url)
    output = told("evict", url, held["created"], held["deleted"], held["created"], "--yes").stdout
    assert "?" not in output and "Evicted 2" in output
    assert "Evicted 5" in told("evict", url, "--target", "/", "--yes").stdout
    assert data("ls", url) == []


def test_evicting_a_running_entry_is_asked(url: str) -> None:
    """An eviction does not stop a handler; a retry would run beside it, and that is said first."""
    held = filled(url)
    result = told("evict", url, held["running"], says="n\n", status=1)
    assert "Their handlers go on" in result.stdout
    assert held["running"] in names(data("ls", url))
    told("evict", url, held["running"], "--yes")
    assert held["running"] not in names(data("ls", url))


def test_nothing_to_evict(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit status 1 when nothing is like that, or what was has gone by the time."""
    assert "holds nothing like that" in told("evict", url, "--key", "other", status=1).stderr
    held = filled(url)
    with at(url) as store:
        monkeypatch.setattr(type(store), "evict", lambda self, name, who: False)
    assert "nothing was evicted" in told("evict", url, held["created"], status=1).stderr


# ---- complete


def test_a_completed_request_is_answered(url: str) -> None:
    """What an operator says is what every retry gets, byte for byte; the run's own word comes too late."""
    claim = asked("cut off", lease=SHORT)
    with at(url) as store:
        token = cut_off(store, claim)
        name = digest_of(claim.ident).hex()
        fields = ["--header", "Location: /orders/7", "--header", "Link: <a>; rel=x", "--header", "link: <b>"]
        output = told("complete", url, name[:12], "--status", "201", *fields, "--body", '{"id": 7}', "--keep", "3600").stdout
        assert "POST /orders: for 60 min a retry gets 201, 9 B" in output and "location: /orders/7" in output
        outcome = store.claim(claim)
        assert isinstance(outcome, Done)
        record = outcome.record
        assert (record.status, record.body, record.state) == (201, b'{"id": 7}', State.WHOLE)
        assert record.headers == [
            (b"location", b"/orders/7"),
            (b"link", b"<a>; rel=x"),
            (b"link", b"<b>"),
            (b"content-type", b"application/json"),
            (b"content-length", b"9"),
        ]
        assert not store.save(claim, token, CREATED)
        assert 3_500 < data("ls", url)[0]["left"] <= 3_600
    assert audit_of(url) == [("complete 201", name)]


def test_completing_a_running_request(url: str) -> None:
    """A run that is still going loses its say."""
    claim = asked("k")
    with at(url) as store:
        token = won(store, claim)
        told("complete", url, digest_of(claim.ident).hex(), "--status", "204")
        assert not store.renew(claim, token) and not store.save(claim, token, CREATED)
        outcome = store.claim(claim)
    assert isinstance(outcome, Done) and (outcome.record.status, outcome.record.headers) == (204, [])


def test_a_completed_answer_is_encrypted(url: str) -> None:
    """With a key at hand an operator's answer is sealed like any other."""
    key = new_key()
    with at(url, keys=[key]) as store:
        won(store, asked("k"))
    name = digest_of(asked("k").ident).hex()
    told("complete", url, name, "--status", "200", "--body", "hello", VERBGUARD_STORE_KEYS=key)
    assert data("show", url, name)["answer"]["kept"] == "sealed"
    assert data("show", url, name, VERBGUARD_STORE_KEYS=key)["answer"]["content"] == "hello"


def test_content_from_a_file(url: str, tmp_path: Path) -> None:
    """--body-file gives the bytes as they are; a content without a type gets the one that it looks like."""
    contents = {
        b"\xff\x00": b"application/octet-stream",
        b"hello": b"text/plain; charset=utf-8",
        b"[1]": b"application/json",
    }
    for number, (content, kind) in enumerate(contents.items()):
        file = tmp_path / f"{number}"
        file.write_bytes(content)
        claim = asked(f"k{number}")
        with at(url) as store:
            won(store, claim)
            told("complete", url, digest_of(claim.ident).hex(), "--status", "200", "--body-file", str(file))
            record = store.claim(claim).record
        assert (record.body, dict(record.headers)[b"content-type"]) == (content, kind)


def test_what_cannot_be_completed(url: str) -> None:
    """An entry with an answer keeps it, and a PUT without a key is owed none; both are said."""
    held = filled(url)
    assert "has its answer (201)" in told("complete", url, held["created"], "--status", "200", status=1).stderr
    with at(url) as store:
        put = asked("", "/things/9", method="PUT")
        won(store, put)
    assert "carried no key" in told("complete", url, digest_of(put.ident).hex(), "--status", "200", status=1).stderr
    assert audit_of(url) == []


WRONG = [
    (["--status", "206"], "no answer to POST"),
    (["--status", "204", "--body", "x"], "has no content"),
    (["--status", "200", "--header", "Location"], "spelled"),
    (["--status", "200", "--header", "Loca tion: x"], "spelled"),
    (["--status", "200", "--header", "Location: a\r\nb: c"], "spelled"),
    (["--status", "200", "--header", "Content-Length: 3"], "counted"),
    (["--status", "200", "--header", "Set-Cookie: a=b"], "Set-Cookie"),
    (["--status", "200", "--header", "X-€: b"], "ASCII"),
    (["--status", "200", "--body", "x", "--body-file", __file__], "use one"),
]


@pytest.mark.parametrize(("options", "says"), WRONG)
def test_answers_that_no_server_gives(options: list[str], says: str) -> None:
    """An answer that breaks HTTP, or that no replay would say again, is refused, and nothing is changed."""
    url = a_file()
    with at(url) as store:
        won(store, asked("k"))
    name = digest_of(asked("k").ident).hex()
    assert says in told("complete", url, name, *options, status=2).stderr
    assert data("show", url, name)["state"] == "running"


# ---- the store itself


def test_stats(url: str) -> None:
    """Counts by state, the bytes of the answers, and the paths that are watched."""
    filled(url)
    found = data("stats", url)
    assert (found["running"], found["unknown"], found["done"]) == (1, 1, 5)
    assert found["bytes"] >= 2_560 + len(CREATED.body)
    output = told("stats", url).stdout
    assert re.search(r"^done +5$", output, re.MULTILINE | re.ASCII) or "done     5" in output
    assert "kB" in output


def test_health(url: str) -> None:
    """A store that answers says how fast."""
    assert re.search(r" answers in \d+\.\d ms\n$", told("health", url).stdout)
    assert data("health", url)["milliseconds"] >= 0


def test_vacuum(url: str) -> None:
    """What has expired is deleted and counted; what has not stays."""
    held = filled(url)
    assert re.match(r"\d+ expired rows? deleted", told("vacuum", url).stdout)
    assert names(data("ls", url)) == set(held.values())


@pytest.mark.parametrize("kind", URLS)
def test_init(kind: str) -> None:
    """It makes what the store needs, and says whether anything was missing; the second time it finds it there."""
    url = URLS[kind]()
    assert ("has now what it needs" if kind in TABLES else "had all that it needs") in told("init", url).stdout
    assert "had all that it needs" in told("init", url).stdout
    assert data("ls", url) == []


def test_the_url_may_come_from_the_environment(url: str) -> None:
    """VERBGUARD_STORE stands in for a URL that is left out; one that is written wins."""
    held = filled(url)
    assert names(data("ls", VERBGUARD_STORE=url)) == set(held.values())
    assert held["created"] in told("show", held["created"][:12], VERBGUARD_STORE=url).stdout
    assert data("ls", url, VERBGUARD_STORE="redis://nowhere") != []


def test_a_key_is_made(tmp_path: Path) -> None:
    """`key` prints one that the stores take, and never the same twice."""
    keys = {told("key").stdout.strip() for _ in range(3)}
    assert len(keys) == 3 and all(re.fullmatch("[0-9a-f]{64}", key) for key in keys)
    stores.open(f"sqlite:///{tmp_path}/s.db", keys=sorted(keys)).close()  # type: ignore[attr-defined]


# ---- what goes wrong


COMMANDS: list[list[str]] = [
    ["ls"],
    ["show", "aaaa"],
    ["evict", "aaaa"],
    ["evict", "--state", "done"],
    ["complete", "aaaa", "--status", "200"],
    ["stats"],
    ["audit"],
    ["health"],
    ["init"],
    ["vacuum"],
]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_store_that_is_down(command: list[str]) -> None:
    """It is one line with what to look at, exit status 1, and no password."""
    url = a_world()
    World.known[url[8:]].down = True
    error = told(command[0], f"model://shop:secret@{url[8:]}", *command[1:], status=1).stderr
    assert len(error.splitlines()) == 1 and "connection refused. Is it running" in error
    assert "model://shop:***@world" in error and "secret" not in error


@pytest.mark.parametrize("down", [False, True])
@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_what_was_opened_is_closed(command: list[str], down: bool) -> None:
    """No command leaves a connection behind, also where it fails."""
    url = a_world()
    world = World.known[url[8:]]
    world.down = down
    CliRunner().invoke(program, ["store", command[0], url, *command[1:]])
    assert (world.opened > 0, world.opened - world.closed) == (True, 0)


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_the_memory_of_another_process(command: list[str]) -> None:
    """memory:// has nothing to show to another process, and says why."""
    assert "memory of the process" in told(command[0], "memory://", *command[1:], status=2).stderr


@pytest.mark.parametrize("command", [each for each in COMMANDS if each != ["init"]], ids=" ".join)
def test_what_is_not_made_is_not_made_by_looking(tmp_path: Path, command: list[str]) -> None:
    """No command but `init` creates anything; the error says that one."""
    file = tmp_path / "no.db"
    assert "verbguard store init" in told(command[0], f"sqlite:///{file}", *command[1:], status=1).stderr
    assert list(tmp_path.iterdir()) == []


WHICH = [
    ([], "VERBGUARD_STORE"),
    (["ls", "memry://"], "did you mean 'memory://'?"),
    (["ls", "replays.db"], "sqlite"),
]


@pytest.mark.parametrize(("arguments", "says"), WHICH)
def test_which_store(arguments: list[str], says: str) -> None:
    """A missing or misspelled URL is told with one that works."""
    assert says in told(*(arguments or ["ls"]), status=2).stderr


# ---- how it looks


@pytest.fixture(scope="module")
def ready(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A file with entries."""
    url = f"sqlite:///{tmp_path_factory.mktemp('store')}/replays.db"
    filled(url)
    with at(url) as store:
        done(store, asked("deep", "/customers/12345678/orders/" + "with/a/long/path/" * 5))
    return url


@pytest.mark.parametrize("rich", [True, False])
@pytest.mark.parametrize("columns", [20, 80, 300])
def test_any_window_will_do(tmp_path: Path, ready: str, rich: bool, columns: int) -> None:
    """80 columns hold the table, with rich and without; a wide window does not stretch it, and a narrow one fails nothing."""
    done = run("store", "ls", ready, cwd=tmp_path, command=COMMAND if rich else without("rich"), COLUMNS=str(columns))
    assert done.returncode == 0, done.stderr
    assert COLOUR not in done.stdout and done.stderr == ""
    assert max(map(len, done.stdout.splitlines())) <= min(max(columns, 90), 100) if columns != 80 else 80
    if columns >= 80:
        rows = [line for line in done.stdout.splitlines() if re.match(r"[0-9a-f]{12} ", line)]
        assert len(rows) == 8 and all(re.search(r" (h|s|days)\s*$", row) for row in rows)


@pytest.mark.parametrize("rich", [True, False])
def test_a_page_fits(tmp_path: Path, ready: str, rich: bool) -> None:
    """80 columns hold the page of an entry, its whole name in one line."""
    name = digest_of(asked("deep", "/").ident).hex()
    done = run("store", "show", ready, name, cwd=tmp_path, command=COMMAND if rich else without("rich"))
    assert done.returncode == 0, done.stderr
    assert max(map(len, done.stdout.splitlines())) <= 80 and name in done.stdout


@pytest.mark.parametrize(("extra", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False)])
def test_colour_on_a_terminal(tmp_path: Path, ready: str, extra: dict[str, str], coloured: bool) -> None:
    """A terminal gets colour, unless NO_COLOR is set."""
    text = f"import pty, sys; sys.exit(pty.spawn({[*COMMAND, 'store', 'ls', ready]!r}) >> 8)"
    done = run(cwd=tmp_path, command=(sys.executable, "-c", text), **extra)
    assert done.returncode == 0, done.stdout
    assert (re.search(r"\x1b\[[0-9;]*3[0-7]m", done.stdout) is not None) == coloured


def test_a_long_look_says_how_far_it_is(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """What takes its time says its number so far on stderr; what is quick says nothing."""
    assert list(terminal.counted(range(3), "entries read")) == [0, 1, 2]
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(terminal, "SILENCE", 0.01)
    seen, end = "", time.monotonic() + PATIENCE
    for _ in terminal.counted(count(), "entries read"):
        seen += capsys.readouterr().err
        if seen.count("\n") >= 3:
            break
        assert time.monotonic() < end
    numbers = [int(line.rpartition(": ")[2].replace(",", "")) for line in seen.splitlines()[:3]]
    assert numbers == sorted(numbers) and seen.startswith("... entries read: ")


@pytest.mark.parametrize("command", ["ls", "show", "evict", "complete", "stats", "audit", "health", "init", "vacuum", "key"])
def test_help_teaches(command: str) -> None:
    """--help has an example that can be copied."""
    output = told(command, "--help", columns=80).stdout
    assert re.search(rf"^  .*verbguard store {command}", output, re.MULTILINE)
    assert max(map(len, output.splitlines())) <= 80 and "\b" not in output


SPANS = [
    (0.2, "< 1 s"),
    (1.9, "1 s"),
    (119, "119 s"),
    (120, "2 min"),
    (7_199, "119 min"),
    (7_200, "2 h"),
    (86_399, "23 h"),
    (172_800, "2 days"),
]


@pytest.mark.parametrize(("seconds", "words"), SPANS)
def test_times_in_words(seconds: float, words: str) -> None:
    """A time is told in the largest unit that leaves more than one, and never as longer than it is."""
    assert entries.span(seconds) == words


def test_a_store_error_inside_is_no_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that fails in the middle of its entries is told like one that is down."""
    url = a_world()
    with at(url) as store:
        done(store, asked("k"))

    def broken(self: Any) -> Iterator[Any]:
        raise StoreError("the server\nwent away")
        yield

    monkeypatch.setattr("shared.operated.OperatedModel.entries", broken)
    assert "the server went away. Is it running" in told("ls", url, status=1).stderr
