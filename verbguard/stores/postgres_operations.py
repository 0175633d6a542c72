"""What an operator asks of the PostgreSQL store."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from verbguard.records import Record
from verbguard.stores.operations import Audit, Kept
from verbguard.stores.postgres_commands import Call, Commands
from verbguard.stores.sealing import status_of

__all__ = ["PostgresOperations"]

_PAGES = 1_000  # of a table that one statement of `vacuum` reads: 8 MB
_AUDITED = 10_000  # lines of the audit that are kept
_KEPT = "ident, token, until, principal, key, method, path, status, size, data IS NULL"
_ALL = "ctid >= '(0,0)'"  # from the first page to the last, by connections that read no table so where an index serves
_TIMES = (("entries", "dies"), ("generations", "until"), ("answers", "expires"))


class PostgresOperations:
    """See Operated."""

    _commands: Commands

    def _rows(self, call: Call) -> list[Any]:
        raise NotImplementedError

    def _ask(self, text: str, *values: Any) -> list[Any]:
        """Rows for a statement whose `[p]` and `[now]` are filled in here."""
        at = self._commands.at()
        now = "date_part('epoch', clock_timestamp())" if at is None else f"{at!r}::float8"
        return self._rows((text.replace("[p]", f"{self._commands.prefix}verbguard_").replace("[now]", now), values))

    def _moment(self) -> float:
        return float(self._ask("SELECT [now]")[0][0])

    def entries(self) -> Iterator[Kept]:
        """See Operated.entries. Page by page of the index, so that neither side holds all of them."""
        last = b""
        while True:
            now = self._moment()
            rows = self._ask(f"SELECT {_KEPT} FROM [p]entries WHERE ident > %b ORDER BY ident LIMIT 1000", last)
            for row in rows:
                yield _kept(row, now)
            if len(rows) < 1_000:
                return
            last = rows[-1][0]

    def show(self, name: bytes) -> tuple[Kept, Record | None] | None:
        """See Operated.show."""
        rows = self._ask(f"SELECT {_KEPT}, data, [now] FROM [p]entries WHERE ident = %b", name)
        if not rows:
            return None
        *row, data, now = rows[0]
        return _kept(tuple(row), now), None if data is None else self._commands.sealer.open(data, name)

    def evict(self, name: bytes, who: str) -> bool:
        """See Operated.evict."""
        return self._audited(
            "WITH one AS (DELETE FROM [p]entries WHERE ident = %b RETURNING 1),"
            " two AS (DELETE FROM [p]answers WHERE ident = %b RETURNING 1),"
            " done AS (SELECT FROM one UNION ALL SELECT FROM two)",
            (name, name),
            (who, "evict", name),
        )

    def complete(self, name: bytes, record: Record, keep: float, who: str) -> bool:
        """See Operated.complete."""
        data = self._commands.sealer.seal(record, name)
        return self._audited(
            "WITH done AS (UPDATE [p]entries SET token = nextval('[p]serial'), until = [now] + %s::float8,"
            " dies = [now] + %s::float8, view = NULL, status = %s::integer, size = %s::integer, data = %b"
            " WHERE ident = %b AND data IS NULL RETURNING 1)",
            (keep, keep, status_of(data), len(data), data, name),
            (who, f"complete {record.status}", name),
        )

    def _audited(self, done: str, values: tuple[Any, ...], line: tuple[str, str, bytes]) -> bool:
        """Do it, and leave a line that says so, in one statement; whether there was something to do."""
        added = (
            " INSERT INTO [p]audit (at, who, what, name) SELECT [now], %s::text, %s::text, %b FROM (SELECT FROM done LIMIT 1) d"
        )
        return bool(self._ask(f"{done}{added} RETURNING 1", *values, *line))

    def audit(self) -> list[Audit]:
        """See Operated.audit."""
        rows = self._ask(f"SELECT at, who, what, name FROM [p]audit ORDER BY number DESC LIMIT {_AUDITED}")
        return [Audit(when=at, who=who, what=what, name=name) for at, who, what, name in rows]

    def stats(self) -> dict[str, int]:
        """See Operated.stats."""
        row = self._ask(
            "SELECT count(*) FILTER (WHERE data IS NULL AND until > [now]),"
            " count(*) FILTER (WHERE data IS NULL AND until <= [now]),"
            " count(*) FILTER (WHERE data IS NOT NULL AND until > [now]), coalesce(sum(size), 0)::bigint,"
            f" (SELECT count(DISTINCT name) FROM [p]generations WHERE until > [now] AND {_ALL}) FROM [p]entries WHERE {_ALL}"
        )[0]
        return dict(zip(("running", "unknown", "done", "bytes", "paths"), row, strict=True))

    def vacuum(self) -> int:
        """See Operated.vacuum. Each statement reads and deletes in a bounded part of a table."""
        total = 0
        for table, time in _TIMES:
            pages = self._ask(f"SELECT pg_relation_size('[p]{table}') / current_setting('block_size')::bigint")[0][0]
            for first in range(0, pages, _PAGES):
                total += self._ask(
                    f"WITH gone AS (DELETE FROM [p]{table} WHERE ctid >= '({first},0)' AND ctid < '({first + _PAGES},0)'"
                    f" AND {time} <= [now] RETURNING 1) SELECT count(*) FROM gone"
                )[0][0]
        return int(total) + int(
            self._ask(
                "WITH gone AS (DELETE FROM [p]audit WHERE number <="
                f" (SELECT max(number) FROM [p]audit) - {_AUDITED} RETURNING 1) SELECT count(*) FROM gone"
            )[0][0]
        )


def _kept(row: tuple[Any, ...], now: float) -> Kept:
    ident, token, until, principal, key, method, path, status, size, runs = row
    return Kept(
        name=ident,
        state="done" if not runs else "running" if until > now else "unknown",
        method=method.decode("utf-8", "surrogatepass"),
        path=path.decode("utf-8", "surrogatepass"),
        principal=principal,
        key=key,
        token=token,
        left=until - now,
        status=status,
        size=size,
    )
