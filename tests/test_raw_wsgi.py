"""The corners of WSGI: a guarded callable is used by any server, and uses any program, as the specification says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from wsgiref.validate import validator

import pytest
from blackbox import wsgi_apps as apps
from blackbox.answers import Ask, ask
from blackbox.checks import parts
from blackbox.drivers import Input, WsgiExchange, environ
from blackbox.wsgi_apps import Program
from werkzeug.wsgi import FileWrapper

import verbguard
from verbguard import action, collection, item

METHODS = ["GET", "POST", "PUT", "DELETE", "PATCH"]
POLICIES = {
    "/things": collection(methods=frozenset({"GET", "POST"})),
    "/things/{id}": item(),
    "/do": action(),
}


def run(app: Any, request: Ask, **options: Any) -> Any:
    return WsgiExchange(app, request).run(**options)


def names(functions: list[Any]) -> list[str]:
    return [function.__name__ for function in functions]


@pytest.mark.parametrize("policies", [None, POLICIES], ids=["bare", "policies"])
@pytest.mark.parametrize("key", [None, "k"])
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("answer", apps.EVERY, ids=names(apps.EVERY))
def test_the_first_answer_is_the_program_s_own(answer: Any, method: str, key: str | None, policies: Any) -> None:
    """Lists, generators, `write`, a second start and errors reach the server as they would without the guard."""
    bare, program = Program(answer), Program(answer)
    guarded = verbguard.guard(program, policies=policies)
    expected = run(bare, ask(method, "/things/1", key=key, body=b"body"))
    assert parts(run(guarded, ask(method, "/things/1", key=key, body=b"body"))) == parts(expected)
    assert (program.runs, program.closed) == (bare.runs, bare.closed)


def test_the_server_s_user_is_not_the_client_s() -> None:
    """A client that names another user in a field of that name gets no answer of his."""
    program = Program(apps.listed)
    guarded = verbguard.guard(program, policies=POLICIES)

    def run_as(**fields: str) -> None:
        request = ask("POST", "/things", key="k", body=b"body")
        run(lambda environ, start: guarded({**environ, **fields}, start), request)

    run_as(REMOTE_USER="ann")
    run_as(REMOTE_USER="bob", HTTP_REMOTE_USER="ann")
    assert program.runs == 2
    run_as(REMOTE_USER="bob", HTTP_REMOTE_USER="ann")
    assert program.runs == 2
    run_as(HTTP_REMOTE_USER="ann")
    assert program.runs == 3


def test_a_client_is_not_a_user_of_the_server_without_a_key_either() -> None:
    """A PUT of somebody whom the server knows is not replayed to whoever says in a field that he is the same."""
    program = Program(apps.listed)
    guarded = verbguard.guard(program, policies=POLICIES)
    for fields in ({"REMOTE_USER": "ann"}, {"HTTP_REMOTE_USER": "ann"}):
        run(lambda environ, start, fields=fields: guarded({**environ, **fields}, start), ask("PUT", "/things/1", body=b"x"))
    assert program.runs == 2


def test_a_principal_callable_hears_the_server_s_user_first() -> None:
    """`request.get(b"remote-user")` is whom the server vouches for; a client's field of that name only where there is none."""
    heard: list[bytes | None] = []
    guarded = verbguard.guard(
        Program(apps.listed),
        policies=POLICIES,
        principal=lambda request: heard.append(request.get(b"remote-user")) or "anybody",
    )
    for fields in ({"REMOTE_USER": "ann", "HTTP_REMOTE_USER": "bob"}, {"HTTP_REMOTE_USER": "bob"}, {"REMOTE_USER": "ann"}):
        run(lambda environ, start, fields=fields: guarded({**environ, **fields}, start), ask("POST", "/things", key="k"))
    assert heard == [b"ann", b"bob", b"ann"]


@pytest.mark.parametrize("key", [None, "k"])
@pytest.mark.parametrize("method", METHODS)
def test_a_field_that_stands_in_the_environ_twice(method: str, key: str | None) -> None:
    """nginx hands CONTENT_TYPE and CONTENT_LENGTH to uWSGI under a second name as well; other servers double odd names."""
    bare, program = Program(apps.listed), Program(apps.listed)
    guarded = verbguard.guard(program, policies=POLICIES)
    twice = {"HTTP_CONTENT_TYPE": "text/plain", "HTTP_CONTENT_LENGTH": "4", "HTTP_X-A": "1", "HTTP_X_A": "2"}
    request = ask(method, "/things/1", key=key, body=b"body")
    answer = run(lambda environ, start: guarded({**environ, **twice}, start), request)
    assert parts(answer) == parts(run(bare, request))
    assert program.runs == 1


def test_201_is_repaired_where_nothing_can_have_been_created() -> None:
    """A 201 to GET or DELETE becomes 200, also where the status comes with the first chunk only."""
    for method in ("GET", "DELETE"):
        answer = run(verbguard.guard(Program(apps.late_creation)), ask(method, "/things/1"))
        assert (answer.status, answer.body) == (200, b"created")


@pytest.mark.parametrize("answer", apps.PLAIN, ids=names(apps.PLAIN))
def test_the_replay_is_the_first_answer(answer: Any) -> None:
    """Whatever the form of the answer, its replay has the same status, pairs and content, and nothing is closed twice."""
    program = Program(answer)
    guarded = verbguard.guard(program)
    first, second = (run(guarded, ask("POST", "/do", key="k", body=b"body")) for _ in range(2))
    assert (first.replayed, second.replayed) == (False, True)
    assert (second.status, second.body) == (first.status, first.body)
    assert second.values("x-twice") == first.values("x-twice")
    assert program.runs == 1
    assert program.closed <= 1


@pytest.mark.parametrize("answer", [apps.raises_half_way, apps.restarted_too_late], ids=["raises", "restarts"])
def test_half_an_answer_is_never_replayed(answer: Any) -> None:
    """What broke after its first chunk is a tombstone for POST."""
    guarded = verbguard.guard(Program(answer))
    run(guarded, ask("POST", "/do", key="k"))
    assert run(guarded, ask("POST", "/do", key="k")).rule == "idem-not-retained"


@pytest.mark.parametrize("answer", [apps.raises_at_once, apps.raises_after_start, apps.raises_first], ids=lambda f: f.__name__)
def test_an_error_before_the_first_chunk_is_a_kept_500(answer: Any) -> None:
    """A raise is the program's 500: a POST does not run again, a PUT does."""
    program = Program(answer)
    guarded = verbguard.guard(program)
    first = run(guarded, ask("POST", "/do", key="k"))
    assert isinstance(first.error, LookupError)
    retry = run(guarded, ask("POST", "/do", key="k"))
    assert (retry.status, retry.replayed, program.runs) == (500, True, 1)
    for _ in range(2):
        assert isinstance(run(guarded, ask("PUT", "/do", key="p")).error, LookupError)
    assert program.runs == 3


# -- close ------------------------------------------------------------------------------------------------------------

CLOSES: list[tuple[str, Any, dict[str, Any]]] = [  # what happens, program, how the server behaves
    ("read to the end", apps.closing, {}),
    ("left at once", apps.closing, {"leave_after": 0}),
    ("left half way", apps.closing, {"leave_after": 1}),
    ("broken half way", apps.raises_half_way, {}),
    ("broken at once", apps.raises_first, {}),
]


@pytest.mark.parametrize(("what", "answer", "manners"), CLOSES, ids=[row[0] for row in CLOSES])
@pytest.mark.parametrize("key", [None, "k"])
@pytest.mark.parametrize("method", ["GET", "POST", "PUT"])
def test_close_comes_exactly_once(method: str, key: str | None, what: str, answer: Any, manners: dict[str, Any]) -> None:
    """However an exchange ends, the program's answer is closed once: locks, files and sessions depend on it."""
    program = Program(answer)
    run(verbguard.guard(program, policies=POLICIES), ask(method, "/do", key=key), **manners)
    assert (program.runs, program.closed) == (1, 1)


@pytest.mark.parametrize("refusal", [("PUT", "/things", None), ("POST", "/do", '"')])
def test_what_is_refused_is_neither_run_nor_closed(refusal: tuple[str, str, str | None]) -> None:
    """There is nothing to close where nothing ran."""
    method, target, key = refusal
    program = Program(apps.closing)
    answer = run(verbguard.guard(program, policies=POLICIES), ask(method, target, key=key, body=b"x"))
    assert answer.status in {400, 405}
    assert (program.runs, program.closed) == (0, 0)


# -- input ------------------------------------------------------------------------------------------------------------


class Strict(Input):
    """An input that a server without `wsgi.input_terminated` gives: reading past the length would block for ever."""

    def __init__(self, request: Ask, length: int) -> None:
        super().__init__(request)
        self.left = length

    def read(self, size: int | None = -1) -> bytes:
        assert size is not None, "read() without a size blocks"
        assert 0 <= size <= self.left, "reading past the length blocks"
        data = super().read(size)
        self.left -= len(data)
        return data


@pytest.mark.parametrize("key", [None, "k"])
@pytest.mark.parametrize("method", ["GET", "POST", "PUT"])
@pytest.mark.parametrize("body", [b"", b"four", b"x" * 200_000])
def test_no_more_is_read_than_there_is(body: bytes, method: str, key: str | None) -> None:
    """Only the length that was announced is read from a server that does not mark the end."""
    request = ask(method, "/things/1", key=key, body=body)
    request.extra["wsgi.input"] = Strict(request, len(body))
    answer = run(verbguard.guard(Program(apps.echo), policies=POLICIES), request)
    assert (answer.status, answer.body, answer.error) == (200, body, None)


@pytest.mark.parametrize("key", [None, "k"])
@pytest.mark.parametrize("method", ["GET", "POST", "PUT"])
def test_chunked_input_is_read_to_its_end_where_the_server_marks_it(method: str, key: str | None) -> None:
    """With `wsgi.input_terminated` a body without a length is a body, and its retry is known by it."""
    guarded = verbguard.guard(Program(apps.echo), policies=POLICIES)
    chunks = [b"chunk one, ", b"", b"chunk two"]
    answer = run(guarded, ask(method, "/things/1", key=key, body=chunks))
    assert answer.body == b"".join(chunks)
    if key and method != "GET":
        assert run(guarded, ask(method, "/things/1", key=key, body=[b"chunk one, chunk", b" two"])).replayed
        assert run(guarded, ask(method, "/things/1", key=key, body=[b"chunk 1"])).rule == "idem-key-reuse-422"


@pytest.mark.parametrize("key", [None, "k"])
def test_chunked_input_without_a_marked_end_is_no_content(key: str | None) -> None:
    """A server that neither says a length nor marks the end gives an empty body: nobody may wait for more."""
    request = ask("POST", "/do", key=key)
    request.extra |= {"HTTP_TRANSFER_ENCODING": "chunked", "wsgi.input": Strict(request, 0)}
    answer = run(verbguard.guard(Program(apps.echo), policies=POLICIES), request)
    assert (answer.status, answer.body, answer.error) == (200, b"", None)


@pytest.mark.parametrize("length", ["", "0", "four", "-1"])
def test_odd_lengths_are_the_program_s_affair(length: str) -> None:
    """An empty or meaningless CONTENT_LENGTH never raises in the guard."""
    request = ask("POST", "/do", key="k")
    request.extra["CONTENT_LENGTH"] = length
    answer = run(verbguard.guard(Program(apps.listed), policies=POLICIES), request)
    assert answer.status in {200, 400}
    assert answer.error is None


@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_input_can_be_read_by_lines(method: str) -> None:
    """The input that a guarded program gets is a whole one: readline and iteration work as on the server's."""
    body = b"one\ntwo\nthree"
    for policies in (None, POLICIES):
        answer = run(verbguard.guard(Program(apps.by_lines), policies=policies), ask(method, "/things/1", key="k", body=body))
        assert answer.body == b"one|two|three"


def test_a_refusal_reads_nothing() -> None:
    """405 for a collection needs the head only: the body stays with the server."""
    request = ask("PUT", "/things", body=b"x" * 1000)
    answer = run(verbguard.guard(Program(apps.echo), policies=POLICIES), request)
    assert (answer.status, answer.rule, answer.allow) == (405, "put-no-collection", {"GET", "HEAD", "POST", "OPTIONS"})
    assert request.reads == []


# -- both sides of the interface --------------------------------------------------------------------------------------

VALID = [apps.listed, apps.tupled, apps.generator, apps.closing, apps.echo]


@pytest.mark.parametrize("key", [None, "k"])
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    "answer", [apps.listed, apps.tupled, apps.generator, apps.closing, apps.echo], ids=lambda f: f.__name__
)
def test_the_standard_library_finds_no_fault(answer: Any, method: str, key: str | None) -> None:
    """`wsgiref.validate` on both sides: the guard is a good server to the program and a good program to the server."""
    guarded = validator(verbguard.guard(validator(Program(answer)), policies=POLICIES))
    for target in ("/things", "/things/1", "/do"):
        for _ in range(2):
            run_validated(guarded, ask(method, target, key=key and key + target, body=b"body"))


def run_validated(app: Callable[..., Any], request: Ask) -> None:
    values = environ(request)
    for name in ("HTTP_CONTENT_TYPE", "HTTP_CONTENT_LENGTH"):
        assert name not in values
    result = app(values, lambda status, headers, exc_info=None: lambda data: None)
    try:
        list(result)
    finally:
        result.close()


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_file_wrapper_reaches_the_server(method: str, tmp_path: Any) -> None:
    """A server sends its own file wrapper by sendfile: on a safe method it gets the very object back."""
    path = tmp_path / "a.txt"
    path.write_bytes(b"content")

    def serve(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "7")])
        return environ["wsgi.file_wrapper"](path.open("rb"))

    request = ask(method, "/file")
    request.extra["wsgi.file_wrapper"] = FileWrapper
    result = verbguard.guard(serve)(environ(request), lambda *_: None)
    try:
        assert isinstance(result, FileWrapper) or method == "HEAD"
    finally:
        getattr(result, "close", lambda: None)()


def test_the_environ_is_passed_on_and_left_alone() -> None:
    """The program gets the server's keys with their values; objects that only a server understands stay the same."""
    seen: dict[str, Any] = {}
    marker = object()

    def look(environ: Any, start_response: Any) -> Any:
        seen.update(environ)
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b""]

    request = ask("GET", "/a%20b?c=%26", headers=[("X-One", "1")])
    request.extra["server.socket"] = marker
    values = environ(request)
    list(verbguard.guard(look)(values, lambda *_: None))
    for name, value in values.items():
        assert seen[name] is value
    assert (seen["PATH_INFO"], seen["QUERY_STRING"], seen["server.socket"]) == ("/a b", "c=%26", marker)


def test_names_of_fields_keep_their_spelling() -> None:
    """Some clients of WSGI servers are fussy about it: what the program wrote is what goes out."""
    got: list[Any] = []

    def spell(environ: Any, start_response: Any) -> Any:
        start_response("200 Fine", [("Content-Type", "text/plain"), ("X-CamelCase", "1"), ("WWW-Thing", "2")])
        return [b"x"]

    list(verbguard.guard(spell)(environ(ask("GET", "/")), lambda status, headers, exc_info=None: got.append((status, headers))))
    assert got == [("200 Fine", [("Content-Type", "text/plain"), ("X-CamelCase", "1"), ("WWW-Thing", "2")])]


def test_unknown_methods_pass_on_a_bare_callable() -> None:
    """Without a route map the guard is humble: a method it does not know is the program's to judge."""
    program = Program(apps.listed)
    assert run(verbguard.guard(program), ask("FOO", "/")).status == 200
    assert program.runs == 1


# PEP 3333 has text that fits latin-1 in all of these places. Test clients leave other things there, and applications cope.
ODD_VALUES = {
    "HTTP_IF_MATCH": b'"v1"',
    "HTTP_AUTHORIZATION": b"Bearer ada",
    "HTTP_IDEMPOTENCY_KEY": b'"k"',
    "HTTP_COOKIE": "name=\u20ac",
    "CONTENT_TYPE": b"text/plain",
    "CONTENT_LENGTH": 4,
}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", ODD_VALUES)
def test_what_no_server_leaves_in_an_environ_is_no_fault(name: str, method: str) -> None:
    """A field's value that is no latin-1 text is judged like one, and reaches the program as it was."""
    seen: list[Any] = []

    def look(environ: Any, start_response: Any) -> Any:
        seen.append(environ[name])
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"done"]

    request = ask(method, "/things/1", body=b"body")
    request.extra[name] = ODD_VALUES[name]
    answer = run(verbguard.guard(look, policies=POLICIES), request)
    assert (answer.status, answer.body, seen) == (200, b"done", [ODD_VALUES[name]])


@pytest.mark.parametrize("method", METHODS)
def test_fields_of_an_answer_go_out_as_they_are_written(method: str) -> None:
    """Also where the answer is kept: neither the case of a name nor a value that fits no field is changed on the way."""
    got: list[Any] = []
    fields = [("content-type", "text/plain"), ("X-Title", "\u20ac"), ("x-lower", "1")]

    def spell(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", fields)
        return [b"x"]

    guarded = verbguard.guard(spell, policies=POLICIES)
    list(guarded(environ(ask(method, "/things/1", key="k", body=b"{}")), lambda status, headers, _=None: got.append(headers)))
    assert got == [fields]
