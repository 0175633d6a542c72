"""Print what each server does with each conversation, bare and guarded: `python -m servers.table > table.md`."""

from __future__ import annotations

import re
from collections import defaultdict
from contextlib import ExitStack
from importlib.metadata import version

from servers.conversations import Play
from servers.impossible import IMPOSSIBLE
from servers.matrix import CASES, Case
from servers.processes import SERVERS, Running, running

PACKAGES = ("uvicorn", "httptools", "h11", "hypercorn", "granian", "gunicorn", "waitress")

LEGEND = """Each cell says what happened, first what most servers do. `next 200`: the request pipelined behind was answered in
step; `end`: the server closed after saying so; `closed`: it closed without; `next lost`, `broken`: the bytes that followed
were no HTTP answer; `of the app`, `of the server`: who made an error that has no rule; `ran`: how often the handler ran.
"""


def main() -> None:
    with ExitStack() as stack:
        started = [stack.enter_context(running(f"servers.apps:{server.interface}", name)) for name, server in SERVERS.items()]
        print(f"Measured with {', '.join(f'{package} {version(package)}' for package in PACKAGES)}.\n")
        print(LEGEND)
        print("| conversation | guarded | the same application bare |\n|---|---|---|")
        for case in CASES:
            print(f"| {case.name} | {_guarded(case, started)} | {_bare(case, started)} |")
    print("\nWhere the server decides:\n\n| server | conversation | what happens | why |\n|---|---|---|---|")
    for (server, name), impossible in sorted(IMPOSSIBLE.items()):
        print(f"| {server} | {name} | {_cell(impossible.guard)} | {impossible.reason} |")


def _guarded(case: Case, servers: list[Running]) -> str:
    """What the matrix expects, once for all servers that do it, and what the others do."""
    return _grouped({server.name: _played(case.play, server, "guard") for server in servers})


def _bare(case: Case, servers: list[Running]) -> str:
    return _grouped({server.name: _played(case.play, server, "off") for server in servers})


def _played(play: Play, server: Running, guard: str) -> str:
    try:
        return play(server, guard)
    except Exception as error:  # a bare application may leave a conversation that cannot be followed to its end
        return f"lost, {error}"


def _grouped(outcomes: dict[str, str]) -> str:
    servers: defaultdict[str, list[str]] = defaultdict(list)
    for server, words in outcomes.items():
        servers[_cell(words)].append(server)
    if len(servers) == 1:
        return next(iter(servers))
    most = max(servers, key=lambda words: len(servers[words]))
    rest = (f"{', '.join(names)}: {words}" for words, names in servers.items() if words != most)
    return "<br>".join([most, *rest])


def _cell(words: str) -> str:
    """Without the bytes that were found where an answer should have been."""
    words = re.sub(r"(lost|broken), .*?(?=;|$)", r"\1", words)
    return words.replace("|", "\\|")


if __name__ == "__main__":
    main()
