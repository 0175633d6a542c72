"""An upstream's bad manners, each a script of `upstream.Talk`."""

from __future__ import annotations

from gateway.client import said
from gateway.upstream import Script, Talk

INTERIM = said("103 Early Hints", "Link: </s.css>; rel=preload")


def silent(talk: Talk) -> None:
    """The connection ends without a word."""
    talk.read()
    talk.close()


def reset(talk: Talk) -> None:
    talk.read()
    talk.reset()


def hang(talk: Talk) -> None:
    """Nothing is said, until the gateway has enough of it."""
    talk.read()
    talk.until_left()


def endless_interim(talk: Talk) -> None:
    """Interim answers for as long as anybody takes them."""
    talk.read()
    while True:
        talk.send(INTERIM * 100)


def then_close(said: bytes) -> Script:
    """These bytes, and the end."""

    def script(talk: Talk) -> None:
        talk.read()
        talk.send(said)
        talk.close()

    return script


def then_reset(said: bytes) -> Script:
    """These bytes, and when the client has the first of them, a reset."""

    def script(talk: Talk) -> None:
        talk.read()
        talk.send(said)
        talk.pause()
        talk.reset()

    return script


def then_hang(said: bytes) -> Script:
    """These bytes, and no more."""

    def script(talk: Talk) -> None:
        talk.read()
        talk.send(said)
        talk.until_left()

    return script


def two_steps(first: bytes, second: bytes) -> Script:
    """Two pieces, the second when the client has something of the first; then the end."""

    def script(talk: Talk) -> None:
        talk.read()
        talk.send(first)
        talk.pause()
        talk.send(second)
        talk.close()

    return script


def until_end(content: bytes) -> Script:
    """An answer of HTTP/1.0 without a length: the end of the connection is its end."""

    def script(talk: Talk) -> None:
        talk.read()
        talk.send(b"HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\n" + content)
        talk.close()

    return script


def content_after(status: str) -> Script:
    """Content where the status allows none, and the end, as it cannot be told from a next answer."""
    return then_close(said(status, content=b"seven!!"))


def early(answer: bytes) -> Script:
    """The answer before any of the request's content was read, then what is left of it until the gateway stops."""

    def script(talk: Talk) -> None:
        talk.send(answer)
        talk.rest()
        talk.close()

    return script
