"""How a guarded answer may differ from the bare one: each way has a name, and everything else has to be equal.

A case sends one request to two copies of a program. `same` is the rule; the other checks are the exceptions that HTTP
asks for, and each of them says exactly what it expects of both answers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import verbguard
from blackbox.answers import Answer, Ask, ask
from blackbox.drivers import AsgiDriver, Client, WsgiDriver


@dataclass(slots=True)
class Both:
    """One request, and what the bare and the guarded copy made of it."""

    request: Ask
    bare: Answer
    guarded: Answer
    reads: int  # how often the guarded copy's server was asked for the body


Check = Callable[[Both], None]
Serve = type[AsgiDriver] | type[WsgiDriver]


def parts(answer: Answer) -> tuple[Any, ...]:
    """What has to be equal. A length on 204 or 304 is a framing error that the guard takes away, as some servers do."""
    headers = [pair for pair in answer.lasting() if answer.status not in {204, 304} or pair[0] != "content-length"]
    return answer.status, headers, answer.body, type(answer.error)


def same(both: Both) -> None:
    """The guard has nothing to say here: status, fields in their order, content and errors are the app's."""
    assert parts(both.guarded) == parts(both.bare)


def without_content(both: Both) -> None:
    """HEAD: everything that the app says but its content, which a server would have had to drop."""
    assert both.guarded.body == b""
    assert both.guarded.status == both.bare.status
    assert both.guarded.lasting() == both.bare.lasting()


def refused(*allow: str) -> Check:
    """PUT on a collection: 405 with every method that would work, before the body is read, whatever the app does."""

    def check(both: Both) -> None:
        answer = both.guarded
        assert (answer.status, answer.rule) == (405, "put-no-collection")
        assert answer.allow == {"OPTIONS", *allow}
        assert both.reads == 0, "a refusal that needs only the head does not read the body"

    return check


def not_allowed(*allow: str) -> Check:
    """The app says 405 as well; the guard completes its Allow and leaves the rest."""

    def check(both: Both) -> None:
        assert both.bare.status == both.guarded.status == 405
        assert both.guarded.allow == {"OPTIONS", *allow}
        assert both.guarded.body == both.bare.body

    return check


def created_at(location: str) -> Check:
    """The app forgot to say where the thing is that it made; nothing else changes."""

    def check(both: Both) -> None:
        assert both.bare.value("location") is None
        assert both.guarded.values("location") == [location]
        rest = [pair for pair in both.guarded.lasting() if pair[0] != "location"]
        assert (both.guarded.status, rest, both.guarded.body) == (201, both.bare.lasting(), both.bare.body)

    return check


def options(*allow: str) -> Check:
    """OPTIONS where the app has none: 2xx, no content, and the same list that a 405 would carry."""

    def check(both: Both) -> None:
        assert both.guarded.status in {200, 204}
        assert both.guarded.allow == {"OPTIONS", *allow}
        assert both.guarded.body == b""

    return check


def status(code: int) -> Check:
    """Both copies answer this, and the guarded one nothing else: a check on the case as much as on the guard."""

    def check(both: Both) -> None:
        assert both.bare.status == code
        same(both)

    return check


class Pair:
    """Two copies of a program, one of them guarded, and a client for each."""

    def __init__(self, factory: Callable[[], Any], serve: Serve = AsgiDriver, **guard: Any) -> None:
        self.apps = (factory(), verbguard.guard(factory(), **guard))
        self.bare, self.guarded = (Client(serve(app)) for app in self.apps)

    def __enter__(self) -> Pair:
        return self

    def __exit__(self, *_: object) -> None:
        self.bare.driver.close()
        self.guarded.driver.close()

    def send(self, method: str, target: str, /, **options: Any) -> Both:
        bare = self.bare.send(method, target, **options)
        request = ask(method, target, **options)
        return Both(request, bare, self.guarded.driver.start(request).answer(), len(request.reads))

    def head(self, target: str, **options: Any) -> None:
        """HEAD says what GET says, without content; a length is GET's or absent."""
        get = self.bare.send("GET", target, **options)
        head = self.guarded.send("HEAD", target, **options)
        assert (head.status, head.body) == (get.status, b"")
        assert head.value("content-type") == get.value("content-type")
        assert head.value("content-length") in {None, get.value("content-length")}
