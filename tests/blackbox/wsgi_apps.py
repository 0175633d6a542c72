"""WSGI callables that use the corners of the protocol, each of them legal.

Every program answers every method and path alike, counts in `runs` and says in `closed` how often its answer was closed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

Environ = dict[str, Any]
TEXT = [("Content-Type", "text/plain")]


class Program:
    def __init__(self, answer: Callable[[Program, Environ, Any], Any]) -> None:
        self.answer = answer
        self.runs = 0
        self.closed = 0

    def __call__(self, environ: Environ, start_response: Any) -> Any:
        self.runs += 1
        return self.answer(self, environ, start_response)


class Closing:
    """An answer that counts how often it was closed."""

    def __init__(self, program: Program, chunks: Iterator[bytes]) -> None:
        self.program = program
        self.chunks = chunks

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        return next(self.chunks)

    def close(self) -> None:
        self.program.closed += 1


def listed(program: Program, environ: Environ, start_response: Any) -> Any:
    start_response("200 OK", [*TEXT, ("Content-Length", "4")])
    return [b"list"]


def tupled(program: Program, environ: Environ, start_response: Any) -> Any:
    start_response("200 OK", [*TEXT, ("X-Twice", "1"), ("X-Twice", "2")])
    return (b"a ", b"", b"tuple")


def nothing(program: Program, environ: Environ, start_response: Any) -> Any:
    start_response("204 No Content", [])
    return []


def odd_reason(program: Program, environ: Environ, start_response: Any) -> Any:
    start_response("299 Rather Fine: very", TEXT)
    return [b"fine"]


def generator(program: Program, environ: Environ, start_response: Any) -> Any:
    """The usual generator: it calls start_response when its first chunk is asked for."""
    start_response("200 OK", TEXT)
    yield b"one "
    yield b"two"


def late_generator(program: Program, environ: Environ, start_response: Any) -> Any:
    """Nothing is known until the first chunk; before it come empty ones, which mean nothing."""
    start_response("200 OK", [*TEXT, ("X-Late", "1")])
    yield b""
    yield b""
    yield b"late"


def late_creation(program: Program, environ: Environ, start_response: Any) -> Any:
    """A 201 that comes with the first chunk, whatever the method."""
    start_response("201 Created", TEXT)
    yield b"created"


def closing(program: Program, environ: Environ, start_response: Any) -> Any:
    start_response("200 OK", TEXT)
    return Closing(program, iter([b"one ", b"two"]))


def written(program: Program, environ: Environ, start_response: Any) -> Any:
    write = start_response("200 OK", TEXT)
    write(b"written ")
    write(b"")
    write(b"twice, ")
    return [b"returned"]


def only_written(program: Program, environ: Environ, start_response: Any) -> Any:
    start_response("200 OK", TEXT)(b"all of it")
    return []


def restarted(program: Program, environ: Environ, start_response: Any) -> Any:
    """A mistake that is noticed before anything went out: the second start replaces the first."""
    start_response("200 OK", [*TEXT, ("X-First", "1")])
    try:
        raise LookupError("restarted")
    except LookupError as error:
        start_response("500 Oops", [*TEXT, ("X-Second", "1")], (type(error), error, error.__traceback__))
    return [b"second"]


def restarted_late(program: Program, environ: Environ, start_response: Any) -> Any:
    """The same inside the iteration, before the first content."""
    start_response("200 OK", TEXT)
    yield b""
    try:
        raise LookupError("restarted late")
    except LookupError as error:
        start_response("502 Oops", TEXT, (type(error), error, error.__traceback__))
    yield b"second"


def restarted_too_late(program: Program, environ: Environ, start_response: Any) -> Any:
    """A mistake after content went out: the server raises it again."""
    start_response("200 OK", TEXT)
    yield b"first "
    try:
        raise LookupError("too late")
    except LookupError as error:
        start_response("500 Oops", TEXT, (type(error), error, error.__traceback__))
    yield b"never"


def raises_at_once(program: Program, environ: Environ, start_response: Any) -> Any:
    raise LookupError("at once")


def raises_after_start(program: Program, environ: Environ, start_response: Any) -> Any:
    start_response("200 OK", TEXT)
    raise LookupError("after the start")


def raises_half_way(program: Program, environ: Environ, start_response: Any) -> Any:
    def chunks() -> Iterator[bytes]:
        yield b"half "
        raise LookupError("half way")

    start_response("200 OK", TEXT)
    return Closing(program, chunks())


def raises_first(program: Program, environ: Environ, start_response: Any) -> Any:
    def chunks() -> Iterator[bytes]:
        raise LookupError("before the first chunk")
        yield b""

    start_response("200 OK", TEXT)
    return Closing(program, chunks())


def echo(program: Program, environ: Environ, start_response: Any) -> Any:
    """Reads as the specification says: up to CONTENT_LENGTH, or to the end where the server marks it."""
    stream = environ["wsgi.input"]
    if environ.get("wsgi.input_terminated"):
        body = b"".join(iter(lambda: stream.read(7), b""))
    else:
        body = stream.read(int(environ.get("CONTENT_LENGTH") or 0))
    start_response("200 OK", [("Content-Type", "application/octet-stream")])
    return [body]


def by_lines(program: Program, environ: Environ, start_response: Any) -> Any:
    stream = environ["wsgi.input"]
    lines = [stream.readline(), *stream] if environ.get("CONTENT_LENGTH") else []
    start_response("200 OK", TEXT)
    return [b"|".join(line.rstrip(b"\n") for line in lines)]


PLAIN = [listed, tupled, nothing, odd_reason, generator, late_generator, closing, written, only_written]
RESTARTED = [restarted, restarted_late, restarted_too_late]
RAISING = [raises_at_once, raises_after_start, raises_half_way, raises_first]
EVERY = [*PLAIN, *RESTARTED, *RAISING, echo]
