"""Print the cases as the page that tells users of them: `python -m gateway.table > ../docs/gateway-cases.md`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from inspect import isfunction

from gateway import cases
from gateway.cases import Case
from gateway.impossible import IMPOSSIBLE
from gateway.judge import Gets, Sees, as_lines

SECTIONS = {
    "The fields of a request": cases.REQUEST_FIELDS,
    "Targets": cases.TARGETS,
    "Methods": cases.METHODS,
    "Where a request's content ends": cases.FRAMING,
    "Answers": cases.ANSWERS,
    "What an answer refers to": cases.LOCATIONS,
    "Services that misbehave": cases.BAD_UPSTREAMS,
}

HEAD = """# What the gateway does, case by case

Proxies differ in these cases: some lose a cookie, some send a POST twice, some take half an answer for a whole one. This is
what `verbguard.guard(Gateway(...))` does. The test suite asserts every line on real sockets, between a client and a service
that exchange exact bytes (`tests/gateway/`), served by uvicorn with both of its parsers and by hypercorn, in the profiles
`guard` and `strict`. `cd tests && python -m gateway.table` prints this page.

`next` says that the request behind is answered on the same connection, in step; `close`, that the answer says that it closes,
and does; `cut`, that it breaks off, so that nobody takes it for whole. WebSockets, streams, keys and clients that leave are not
in the table: `test_websockets.py`, `test_streams.py`, `test_keys.py`, `test_garbage.py` and `test_http2.py` have them.
"""


def main() -> None:
    print(HEAD)
    for title, rows in SECTIONS.items():
        print(f"## {title}\n\n| case | the service gets | the client gets |\n|---|---|---|")
        for case in rows:
            print(f"| {case.name} | {_service(case.sees)} | {_client(case)} |")
        print()
    print("## What a server makes impossible\n\n| server | case | why |\n|---|---|---|")
    for (server, name), impossible in sorted(IMPOSSIBLE.items()):
        print(f"| {'every server' if server == 'asgi' else server} | {name} | {impossible.reason} |")


def _service(sees: Sees | None) -> str:
    if sees is None:
        return "nothing"
    words = [f"`{_short(sees.line)}`"] if sees.line else []
    words += _fields(sees.fields)
    words += [f"content by {sees.framing}"] if sees.framing not in (None, "none") else []
    return "; ".join(words) or "the request"


def _client(case: Case) -> str:
    words = [_answer(case.gets)]
    if case.strict:
        words.append(f"`strict`: {_answer(case.strict)}")
    return "<br>".join(words)


def _answer(gets: Gets) -> str:
    if gets.then == "cut":
        return "cut"
    statuses = gets.status if isinstance(gets.status, tuple) else (gets.status,)
    words = [" or ".join(map(str, (*gets.interim, *statuses) if len(statuses) == 1 else statuses))]
    words += [f"`{gets.rule}`"] if gets.rule else []
    words += _fields(gets.fields)
    return "; ".join([*words, "close or next" if gets.then == "either" else gets.then])


def _fields(wanted: Mapping[str, object]) -> Iterable[str]:
    for name, value in wanted.items():
        if value is None:
            yield f"no {name}"
        elif callable(value):
            yield name if isfunction(value) else f"`{name}: {value}`"
        else:
            yield ", ".join(f"`{name}: {_short(line)}`" for line in as_lines(value))  # type: ignore[arg-type]


def _short(text: str) -> str:
    plain = text.encode("latin-1").decode("ascii", "backslashreplace").replace("|", "\\|")
    return plain if len(plain) <= 60 else f"{plain[:40]}…"


if __name__ == "__main__":
    main()
