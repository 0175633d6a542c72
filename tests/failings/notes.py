"""An answer in a few words: what a client has to know of it, and what is wrong with it."""

from __future__ import annotations

from servers.processes import Running
from servers.wire import Answer, Broken, request

_ORDER = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


def note(answer: Answer) -> str:
    """`405 [GET HEAD]`: status and Allow of a refusal; `-> /x`: Location; `7 B`: content where there should be none."""
    words = [str(answer.status)]
    allow = answer.members("allow")
    empty = answer.status in (200, 204) and not answer.content
    if answer.status == 405 or empty and "OPTIONS" in allow:
        words.append(f"[{' '.join(sorted(allow, key=_ORDER.index))}]")
    if location := answer.get("location"):
        words.append(f"-> {location}")
    if answer.status in (204, 205, 304) and answer.content:
        words.append(f"{len(answer.content)} B")
    if answer.faults:
        words.append(f"({', '.join(answer.faults)})")
    return " ".join(words)


def heard(server: Running, method: str, target: str, fields: dict[str, str]) -> str:
    """What comes of one request; `closed` where the server gives up."""
    content = b"{}" if method in ("POST", "PUT", "PATCH", "QUERY") else None
    try:
        return note(server.ask(request(method, target, content, **fields)))
    except (Broken, OSError):
        return "closed"
