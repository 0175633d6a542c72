"""The tables of the PostgreSQL store, and its operations as functions of the server: each is one statement for its caller.

They do what `transitions` does, and differ from it in how they keep generations:

- Every unsafe request marks its ancestors, so that one row for "something below / was written" would be locked by all of
  them until the commit of each. A path therefore has `STRIPES` rows; a run uses the one that its serial falls on. A
  transaction takes serials of one stripe, so that what comes together writes one row; a connection moves on to the next in a
  tenth of a second, as a row in which many runs go on is long.
- A view is the set of the last events that were seen, the epoch's serial in front. It still holds while every event that can
  be seen is in it. A set, since a transaction commits later than it takes its serial: what becomes visible late must not
  hide behind a larger number. So no reader needs a lock: whoever is not yet visible has not begun.
- A writer locks rows in one order: the entries by ident, then the generations by name and stripe. `save` locks its rows before
  it compares, or its own event could cover one that was committed in between.

Names of paths are digests: an index has no room for long ones, and a text none for a zero byte. There is no index on times:
updates of unindexed columns stay in their page, and `vacuum` reads tables page by page.
"""

from __future__ import annotations

from verbguard.stores.postgres_functions import functions

__all__ = ["ANSWERS", "VERSION", "prefix", "script"]

VERSION = 2  # in the functions' names, so that processes of two versions can share a database while they are replaced
STRIPES = 16
UNPRUNED = 256  # bytes of a row's runs, above which those that were never ended are looked for
PATIENCE = 100  # milliseconds that those who came together wait for a row of somebody else
ANSWERS = "verbguard_answers"
LOCK = 7_091_546_203  # an advisory lock of whoever creates the schema; any number that nobody else uses


def prefix(schema: str | None) -> str:
    """What stands before a name in this schema; nothing for the connection's search path."""
    return "" if schema is None else '"' + schema.replace('"', '""') + '".'


def script(schema: str | None) -> str:
    """The statements that make what is missing, for one transaction."""
    made = "" if schema is None else f"CREATE SCHEMA IF NOT EXISTS {prefix(schema)[:-1]};"
    text = f"SELECT pg_advisory_xact_lock({LOCK}); {made} {_TABLES} {functions()}"
    return (
        text.replace("[p]", prefix(schema))
        .replace("[v]", f"{prefix(schema)}verbguard_v{VERSION}_")
        .replace("[stripes]", str(STRIPES))
        .replace("[unpruned]", str(UNPRUNED))
        .replace("[patience]", str(PATIENCE))
    )


_TABLES = """
-- Each step leaves room for a stripe: the rest of a serial divided by their number.
CREATE SEQUENCE IF NOT EXISTS [p]verbguard_serial INCREMENT BY [stripes] CACHE 1;
DO $$ BEGIN
    IF (SELECT seqincrement <> [stripes] FROM pg_sequence WHERE seqrelid = '[p]verbguard_serial'::regclass) THEN
        ALTER SEQUENCE [p]verbguard_serial INCREMENT BY [stripes];
    END IF;
END $$;

CREATE TABLE IF NOT EXISTS [p]verbguard_entries (
    ident bytea PRIMARY KEY,
    token bigint NOT NULL,
    fingerprint bytea NOT NULL,
    until double precision NOT NULL,
    view bigint[],
    started double precision NOT NULL,
    dies double precision NOT NULL,
    principal bytea NOT NULL,
    key bytea NOT NULL,
    method bytea NOT NULL,
    path bytea NOT NULL,
    status integer NOT NULL,
    size integer NOT NULL,
    data bytea
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05);

CREATE TABLE IF NOT EXISTS [p]verbguard_generations (
    name bytea,
    stripe smallint,
    event bigint NOT NULL,
    runs jsonb NOT NULL,
    until double precision NOT NULL,
    PRIMARY KEY (name, stripe)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.05);

CREATE TABLE IF NOT EXISTS [p]verbguard_epoch (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    serial bigint NOT NULL,
    quiet double precision NOT NULL,
    span double precision NOT NULL
);
INSERT INTO [p]verbguard_epoch VALUES (true, 0, 0, 30) ON CONFLICT DO NOTHING;

CREATE TABLE IF NOT EXISTS [p]verbguard_audit (
    number bigserial PRIMARY KEY,
    at double precision NOT NULL,
    who text NOT NULL,
    what text NOT NULL,
    name bytea NOT NULL
);

-- Applications write here in their own transactions; nothing of the store's waits for its rows.
CREATE TABLE IF NOT EXISTS [p]verbguard_answers (
    ident bytea PRIMARY KEY,
    token bigint NOT NULL,
    fingerprint bytea NOT NULL,
    expires double precision NOT NULL,
    record bytea NOT NULL
);
CREATE INDEX IF NOT EXISTS verbguard_answers_expires ON [p]verbguard_answers (expires);
"""
