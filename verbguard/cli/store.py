"""`verbguard store`: what a shared store holds, and an operator's word where a request was cut off."""

from __future__ import annotations

import heapq
import json
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from verbguard.cli.opening import Failed, keys_option, opened, split, store_options
from verbguard.cli.target import Trouble
from verbguard.cli.terminal import GAP, Cell, Look, Mark, Terminal, counted, patience, terminal

if TYPE_CHECKING:  # loaded when a store is asked, so that other commands start without it
    from verbguard.cli.entries import Wanted
    from verbguard.records import Record
    from verbguard.stores.operations import Audit, Kept, Operated

_LOOKS: dict[str, Look] = {"unknown": "bad", "running": "good", "done": ""}
_FEW = 20  # entries that are listed before a question; more would push it off the screen
_SHORTEST = 14  # columns: below that a path is a column of single letters
_DAY = 86_400.0  # what `Replay.keep` is where nobody says otherwise


@click.group(
    short_help="Look into a shared store, and end an entry by hand.",
    epilog="""
\b
URL is the store, as guard(store=...) has it, or $VERBGUARD_STORE:
  sqlite:////var/lib/shop/replays.db
  redis://10.0.0.5:6379/0
  postgresql://shop@db/shop

\b
A request was cut off, its client is told "outcome unknown":
  verbguard store ls URL --state unknown
  verbguard store show URL 3fa94c        all that is known of it
  verbguard store complete URL 3fa94c --status 201    it had taken effect
  verbguard store evict URL 3fa94c       it had not: a retry may run

\b
Exit status: 0 done, 1 not found or not reachable, 2 called wrongly.
""",
)
def store() -> None:
    """Look into the store that the guards of several processes share, and end an entry by hand."""


as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON instead.")


def words_argument(metavar: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """The URL, which may be left out, and names behind it."""
    return lambda command: click.argument("words", nargs=-1, metavar=metavar)(keys_option(command))


def filters(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that say which entries are meant."""
    for option in (
        click.option("--state", type=click.Choice(tuple(_LOOKS)), help="Only entries in this state."),
        click.option("--target", metavar="PATH", help="Only this path, or template, and all below it."),
        click.option("--key", metavar="KEY", help="Only this Idempotency-Key, as the client sent it."),
        click.option("--principal", metavar="WHO", help="Only whose: the digits shown, or the name you gave."),
    ):
        command = option(command)
    return command


def _wanted(principal: str | None, key: str | None, target: str | None, state: str | None) -> Wanted:
    from verbguard.cli.entries import Wanted, at_or_below
    from verbguard.replay.keys import KeyProblem, parse_key
    from verbguard.stores.operations import key_digest

    if target is not None and not target.startswith("/"):
        raise Trouble(f"--target {target}: a path begins with a slash, as /orders/7 or /orders/{{id}} do.")
    try:
        digest = None if key is None else key_digest(parse_key(key.encode("utf-8", "surrogateescape")))
    except KeyProblem as problem:
        raise Trouble(f"--key: {problem.detail}") from None
    return Wanted(principal=principal, key=digest, target=None if target is None else at_or_below(target), state=state)


# ---- ls


@store.command(
    short_help="List the entries.",
    epilog="""
\b
Examples:
  verbguard store ls sqlite:///replays.db
  verbguard store ls redis://cache/0 --state unknown
  verbguard store ls URL --key 8e03978e-40d5-43dd-bc93-6894a57f9324
  verbguard store ls URL --target '/orders/{id}' --principal alice
  verbguard store ls URL --json | jq -r '.[] | [.name, .path] | @tsv'

\b
Reading it:
  STATE   unknown: cut off, nobody knows how far; these come first
  KEY     whether the client sent an Idempotency-Key
  WHOSE   the beginning of a digest of who asked
  LEFT    of the lease of a running entry, of the life of any other
""",
)
@store_options
@filters
@click.option("--limit", metavar="N", type=click.IntRange(0), help="At most so many; 0: all. Default: 100 in a table.")
@as_json
def ls(
    url: str | None,
    key_file: Path | None,
    principal: str | None,
    key: str | None,
    target: str | None,
    state: str | None,
    limit: int | None,
    as_json: bool,
) -> None:
    """List what the store holds, the entries that wait for an operator first.

    A key is found by its digest; the store does not know the key itself.
    """
    wanted = _wanted(principal, key, target, state)
    states: Counter[str] = Counter()
    with opened(url, key_file) as (store, shown):
        most = limit if limit is not None else 0 if as_json else 100
        found = _first(_tallied(_all(store), wanted, states), most)
    if as_json:
        from verbguard.cli.entries import described

        click.echo(json.dumps([described(entry) for entry in found], indent=2))
        return
    out = terminal()
    if not found:
        out.line(Mark(f"{shown} holds nothing{'' if wanted.everything else ' like that'}."))
        return
    _table(out, found)
    _count(out, states, len(found))


def _all(store: Operated) -> Iterator[Kept]:
    return counted(store.entries(), "entries read")


def _tallied(entries: Iterable[Kept], wanted: Wanted, states: Counter[str]) -> Iterator[Kept]:
    for entry in wanted.chosen(entries):
        states[entry.state] += 1
        yield entry


def _first(entries: Iterable[Kept], most: int) -> list[Kept]:
    """The most urgent ones; a store may hold more than fits into memory."""
    from verbguard.cli.entries import by_urgency

    return heapq.nsmallest(most, entries, by_urgency) if most else sorted(entries, key=by_urgency)


def _table(out: Terminal, found: Sequence[Kept]) -> None:
    headings = ("name", "state", "method", "path", "key", "whose", "answer", "left")
    rows = [_row(entry) for entry in found]
    widths = [
        max(len(heading), *(len(mark.text) for row in rows for mark in row[number]), 0)
        for number, heading in enumerate(headings)
    ]
    path = headings.index("path")
    room = out.width - sum(widths) + widths[path] - len(GAP) * len(widths)
    widths[path] = min(widths[path], max(room, _SHORTEST))
    out.table(headings, rows, widths)


def _row(entry: Kept) -> list[Cell]:
    from verbguard.cli.entries import WHOSE, answer_of, inert, short, span

    return [
        [Mark(short(entry.name))],
        [Mark(entry.state, _LOOKS.get(entry.state, ""))],
        [Mark(inert(entry.method))],
        [Mark(inert(entry.path))],
        [Mark("yes" if entry.key else "no", "" if entry.key else "dim")],
        [Mark(short(entry.principal, WHOSE) or "nobody", "dim")],
        [Mark(answer_of(entry))],
        [Mark(span(entry.left))],
    ]


def _count(out: Terminal, states: Counter[str], shown: int) -> None:
    from verbguard.cli.entries import number

    total = sum(states.values())
    told = ", ".join(f"{states[state]:,} {state}" for state in _LOOKS if states[state])
    out.line()
    out.line(Mark(f"{number(total, 'entry', 'entries')}: {told}."))
    if shown < total:
        out.line(Mark(f"The first {shown:,} are shown; --limit 0 shows all."))
    if states["unknown"]:
        out.line(Mark("Where you know how an unknown one ended: "), Mark("verbguard store complete", "head"))
        out.line(Mark("Where you know that it had no effect: "), Mark("verbguard store evict", "head"))


# ---- which ones are named


def _named(store: Operated, names: Sequence[str], shown: str) -> list[Kept]:
    """The entry that each name means. Raises Trouble for a name that may mean several, Failed for one that means none."""
    from verbguard.cli.entries import with_names

    wanted = list(dict.fromkeys(_digits(name) for name in names))
    found, near = with_names(_all(store), wanted)
    for name, entries in found.items():
        if len(entries) > 1:
            raise Trouble(f"{name} may mean each of {len(entries)}: {_listed(entries)}. Give more digits.")
        if not entries:
            hint = f"Did you mean one of these: {_listed(near)}?" if near else f"`verbguard store ls {shown}` lists them."
            raise Failed(f"There is no entry {name} in {shown}; it may have expired. {hint}")
    return [entries[0] for entries in found.values()]


def _digits(name: str) -> str:
    from verbguard.cli.entries import FEWEST

    digits = name.lower()
    if len(digits) < FEWEST or len(digits) > 64 or digits.strip("0123456789abcdef"):
        raise Trouble(f"{name!r} is no name: at least {FEWEST} of the hexadecimal digits that `verbguard store ls` shows.")
    return digits


def _listed(entries: Sequence[Kept]) -> str:
    from verbguard.cli.entries import request_of

    few = ", ".join(f"{entry.name.hex()[:20]} ({request_of(entry)})" for entry in entries[:5])
    return f"{few}, ..." if len(entries) > 5 else few


def _one(words: Sequence[str]) -> tuple[str | None, str]:
    url, names = split(words)
    if len(names) != 1:
        raise Trouble(f"{'Name an entry' if not names else 'Name one entry'}: `verbguard store ls` shows their names.")
    return url, names[0]


# ---- show


@store.command(
    short_help="Show all that is known of one entry.",
    epilog="""
\b
Examples:
  verbguard store show sqlite:///replays.db 3fa94c2b01d7
  verbguard store show URL 3fa9 --json | jq .answer.headers
  verbguard store show URL 3fa9 --key-file keys.txt    encrypted answers
""",
)
@words_argument("[URL] NAME")
@as_json
def show(words: tuple[str, ...], key_file: Path | None, as_json: bool) -> None:
    """Show the entry NAME: what was asked, how it stands, the kept answer's fields and the beginning of its content.

    The first digits of a name are enough where no other entry has them.
    """
    from verbguard.cli.entries import answered, described

    url, name = _one(words)
    with opened(url, key_file) as (store, shown):
        held = store.show(_named(store, [name], shown)[0].name)
    if held is None:
        raise Failed(f"The entry {name} has just expired.")
    if as_json:
        click.echo(json.dumps(described(held[0]) | {"answer": answered(held[1])}, indent=2))
        return
    _page(terminal(), *held)


def _page(out: Terminal, entry: Kept, record: Record | None) -> None:
    from verbguard.cli.entries import answer_of, beginning, inert, request_of, standing, withheld

    out.line(Mark(request_of(entry), "head"))
    out.line()
    _facts(
        out,
        [
            ("name", entry.name.hex()),
            ("state", standing(entry)),
            ("whose", entry.principal.hex() or "nobody's: the request carried no credentials"),
            ("key", f"{entry.key.hex()} (its digest)" if entry.key else "none; the request itself is the key"),
            ("token", f"{entry.token}"),
            ("answer", " ".join(filter(None, (answer_of(entry), withheld(entry, record))))),
        ],
    )
    if record is None:
        return
    if record.headers:
        out.line()
        fields = [(inert(name.decode("latin-1")), inert(value.decode("latin-1"))) for name, value in record.headers]
        _facts(out, fields)
    if not withheld(entry, record):
        click.echo()
        for line in beginning(record):
            click.echo(line)  # as it is: neither wrapped nor trimmed


def _facts(out: Terminal, pairs: Sequence[tuple[str, str]]) -> None:
    first = min(max(len(word) for word, _ in pairs), 20)
    rows = [[[Mark(word, "dim")], [Mark(line)]] for word, line in pairs]
    out.table([], rows, [first, max(out.width - first - len(GAP), _SHORTEST)])


# ---- evict


@store.command(
    short_help="Take entries out: a retry runs again.",
    epilog="""
\b
Examples:
  verbguard store evict sqlite:///replays.db 3fa94c2b01d7
  verbguard store evict URL --key 8e03978e-40d5-43dd-bc93-6894a57f9324
  verbguard store evict URL --target '/orders/{id}' --state unknown
  verbguard store evict URL --principal alice --yes    without a question
""",
)
@words_argument("[URL] [NAME]...")
@filters
@click.option("--yes", is_flag=True, help="Do not ask.")
def evict(
    words: tuple[str, ...],
    key_file: Path | None,
    principal: str | None,
    key: str | None,
    target: str | None,
    state: str | None,
    yes: bool,
) -> None:
    """Take the entries out that are named, or that are like the options say.

    A key that is taken out is new again: a client that repeats its request runs it once more. Where the request had
    taken effect, that is a second effect; `complete` is for those. Each eviction leaves a line in the audit.
    """
    from verbguard.cli.entries import number

    url, names = split(words)
    wanted = _wanted(principal, key, target, state)
    if bool(names) != wanted.everything:
        raise Trouble("Give either names, which `verbguard store ls` shows, or options that say which entries are meant.")
    with opened(url, key_file) as (store, shown):
        found = _named(store, names, shown) if names else sorted(wanted.chosen(_all(store)), key=_by_urgency())
        if not found:
            raise Failed(f"{shown} holds nothing like that.")
        if not yes and (len(found) > 1 or found[0].state == "running"):
            _ask(found)
        gone = sum(store.evict(entry.name, _who()) for entry in found)
    if not gone:
        raise Failed("They had all expired by now: nothing was evicted.")
    click.echo(f"Evicted {number(gone, 'entry', 'entries')}: a retry is a new request now, and runs.")


def _by_urgency() -> Callable[[Kept], Any]:
    from verbguard.cli.entries import by_urgency

    return by_urgency


def _ask(found: Sequence[Kept]) -> None:
    """Show what would be evicted and what that means; go on with a yes only."""
    from verbguard.cli.entries import number

    out = terminal()
    _table(out, found[:_FEW])
    if len(found) > _FEW:
        out.line(Mark(f"... and {len(found) - _FEW:,} more"))
    out.line()
    running = sum(entry.state == "running" for entry in found)
    if running:
        out.line(Mark(f"Running now: {running:,}. Their handlers go on, and a retry would run beside them.", "bad"))
    out.line(Mark("A client that repeats one of these requests runs it once more, whatever it did the first time."))
    try:
        if click.confirm(f"Evict {number(len(found), 'entry', 'entries')}?"):
            return
    except click.Abort:
        click.echo()
        raise Trouble("Nobody answered, so nothing was evicted; --yes goes without the question.") from None
    raise Failed("Nothing was evicted.")


def _who() -> str:
    """Who is at the keyboard, for the audit."""
    import getpass
    import socket

    try:
        name = getpass.getuser()
    except (OSError, KeyError):  # a container's user may have no name
        name = "somebody"
    return f"{name}@{socket.gethostname()}"


# ---- complete


@store.command(
    short_help="Say how a cut-off request ended.",
    epilog="""
\b
Examples:
  verbguard store complete URL 3fa9 --status 201 \\
      --header 'Location: /orders/7' --body '{"id": 7}'
  verbguard store complete URL 3fa9 --status 204
  verbguard store complete URL 3fa9 --status 200 --body-file answer.json
  verbguard store complete URL 3fa9 --status 201 --keep 3600
""",
)
@words_argument("[URL] NAME")
@click.option("--status", metavar="201", required=True, type=click.IntRange(200, 599), help="Of the answer to give.")
@click.option("--header", "fields", metavar="'NAME: VALUE'", multiple=True, help="A field of it; may be repeated.")
@click.option("--body", metavar="TEXT", help="Its content.")
@click.option("--body-file", metavar="FILE", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Its content.")
@click.option("--keep", metavar="SECONDS", type=click.FloatRange(1), default=_DAY, show_default="a day", help="For how long.")
def complete(
    words: tuple[str, ...],
    key_file: Path | None,
    status: int,
    fields: tuple[str, ...],
    body: str | None,
    body_file: Path | None,
    keep: float,
) -> None:
    """Say what the answer of the entry NAME is, which was cut off, or is running still.

    Every retry gets that answer and its handler does not run again. A run that is still going loses its say: what it
    would have answered is not kept. That leaves a line in the audit. Without --key-file the answer is kept in clear.
    """
    from verbguard.cli.answers import answer_of

    url, name = _one(words)
    if body is not None and body_file is not None:
        raise Trouble("--body and --body-file are two ways to give the content: use one.")
    content = body_file.read_bytes() if body_file is not None else (body or "").encode("utf-8", "surrogateescape")
    with opened(url, key_file) as (store, shown):
        entry = _named(store, [name], shown)[0]
        _may_complete(entry)
        record = answer_of(entry.method, status, fields, content)
        if not store.complete(entry.name, record, keep, _who()):
            raise Failed("It has just been answered or has expired: nothing was changed. `verbguard store show` tells more.")
    _tell_completed(entry, record, keep)


def _may_complete(entry: Kept) -> None:
    from verbguard.cli.entries import request_of

    if entry.state == "done":
        raise Failed(
            f"{request_of(entry)} has its answer ({entry.status}). Where that is wrong, evict the entry, and a retry runs."
        )
    if not entry.key:
        raise Failed(f"{request_of(entry)} carried no key: a repetition of it runs, and is promised no answer.")


def _tell_completed(entry: Kept, record: Record, keep: float) -> None:
    from verbguard.cli.entries import inert, request_of, size, span

    click.echo(f"{request_of(entry)}: for {span(keep)} a retry gets {record.status}, {size(len(record.body))}")
    for name, value in record.headers:
        click.echo(f"  {inert(name.decode('latin-1'))}: {inert(value.decode('latin-1'))}")


# ---- the store itself


@store.command(
    short_help="Count what the store holds.",
    epilog="""
\b
Example:
  verbguard store stats redis://cache/0
""",
)
@store_options
@as_json
def stats(url: str | None, key_file: Path | None, as_json: bool) -> None:
    """Count the entries by their state, the bytes of their answers, and the paths whose changes are watched."""
    from verbguard.cli.entries import size

    with opened(url, key_file) as (store, _):
        found = store.stats()
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    rows = [(name, size(count) if name == "bytes" else f"{count:,}") for name, count in found.items()]
    _facts(terminal(), rows)


@store.command(
    short_help="Tell what operators did.",
    epilog="""
\b
Examples:
  verbguard store audit sqlite:///replays.db
  verbguard store audit URL --json | jq -r '.[].who' | sort | uniq -c
""",
)
@store_options
@click.option("--limit", metavar="N", type=click.IntRange(0), help="At most so many; 0: all. Default: 100 in a table.")
@as_json
def audit(url: str | None, key_file: Path | None, limit: int | None, as_json: bool) -> None:
    """List evictions and completions, the newest first: when, who, what, and which entry."""
    from verbguard.cli.entries import audited

    with opened(url, key_file) as (store, shown):
        lines = store.audit()
    most = limit if limit is not None else 0 if as_json else 100
    told = lines[: most or None]
    if as_json:
        click.echo(json.dumps([audited(line) for line in told], indent=2))
        return
    out = terminal()
    if not lines:
        out.line(Mark(f"Nobody has evicted or completed anything in {shown}."))
        return
    out.table(("when", "who", "what", "name"), [_audit_row(line) for line in told])
    if len(told) < len(lines):
        out.line()
        out.line(Mark(f"The latest {len(told):,} of {len(lines):,} are shown; --limit 0 shows all."))


def _audit_row(line: Audit) -> list[Cell]:
    from verbguard.cli.entries import inert, short

    when = datetime.fromtimestamp(line.when).strftime("%Y-%m-%d %H:%M:%S")
    return [[Mark(when)], [Mark(inert(line.who))], [Mark(inert(line.what))], [Mark(short(line.name))]]


@store.command(
    short_help="Ask whether the store answers.",
    epilog="""
\b
Examples:
  verbguard store health postgresql://shop@db/shop
  verbguard store health URL || page-somebody
""",
)
@store_options
@as_json
def health(url: str | None, key_file: Path | None, as_json: bool) -> None:
    """Say how long the store takes to answer; exit status 1 when it does not."""
    with opened(url, key_file) as (store, shown):
        milliseconds = store.health() * 1_000
    if as_json:
        click.echo(json.dumps({"url": shown, "milliseconds": round(milliseconds, 3)}))
        return
    click.echo(f"{shown} answers in {milliseconds:.1f} ms")


@store.command(
    short_help="Create what the store needs.",
    epilog="""
\b
Example:
  verbguard store init postgresql://owner@db/shop
""",
)
@store_options
def init(url: str | None, key_file: Path | None) -> None:
    """Create the tables of the store; harmless where they are there already.

    For databases whose tables the app itself may not create: `create = false` in verbguard.toml.
    """
    before = _ready(url, key_file)
    with opened(url, key_file, create=True) as (store, shown):
        store.initialise()
        milliseconds = store.health() * 1_000
    done = "had all that it needs" if before else "has now what it needs"
    click.echo(f"{shown} {done}, and answers in {milliseconds:.1f} ms")


def _ready(url: str | None, key_file: Path | None) -> bool:
    """Whether the store can be used as it is."""
    try:
        with opened(url, key_file) as (store, _):
            store.stats()
    except Failed:
        return False
    return True


@store.command(
    short_help="Delete what has expired.",
    epilog="""
\b
Example, for cron:
  7 * * * *  verbguard store vacuum postgresql://shop@db/shop
""",
)
@store_options
def vacuum(url: str | None, key_file: Path | None) -> None:
    """Delete what has expired. PostgreSQL wants that now and then; Redis and SQLite do it by themselves."""
    from verbguard.cli.entries import number

    with opened(url, key_file) as (store, shown), patience(f"deleting what has expired in {shown}"):
        rows = store.vacuum()
    click.echo(f"{number(rows, 'expired row')} deleted in {shown}")


@store.command(
    short_help="Make an encryption key.",
    epilog="""
\b
Examples:
  (umask 077; verbguard store key > keys.txt)
  verbguard store ls URL --key-file keys.txt

\b
In verbguard.toml, and so that the key is not in the file:
  [store]
  url = "redis://cache/0"
  keys_env = "SHOP_STORE_KEYS"
""",
)
def key() -> None:
    """Print a new key for the answers at rest, 64 hexadecimal digits for AES-256.

    To rotate, put the new key in front of the old one, and take the old one out when what it encrypted has expired.
    """
    from verbguard.stores.sealing import new_key

    click.echo(new_key())
    if sys.stdout.isatty():
        click.echo("Whoever has it can read the answers; without it nobody can. It is not kept anywhere.", err=True)
