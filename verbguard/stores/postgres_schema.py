"""The tables of the PostgreSQL store, and its operations as functions of the server: each is one statement for its caller.

They do what `transitions` does, and differ from it in how they keep generations:

- Every unsafe request marks its ancestors, so that one row for "something below / was written" would be locked by all of
  them until the commit of each. A path therefore has `STRIPES` rows; a run uses the one that its serial falls on.
- A view is the set of the last events that were seen, the epoch's serial in front. It still holds while every event that can
  be seen is in it. A set, since a transaction commits later than it takes its serial: what becomes visible late must not
  hide behind a larger number. So no reader needs a lock: whoever is not yet visible has not begun.
- A writer locks rows in one order: the entry, then the generations by name. `save` locks its rows before it compares, or its
  own event could cover one that was committed in between.

Names of paths are digests: an index has no room for long ones, and a text none for a zero byte. There is no index on times:
updates of unindexed columns stay in their page, and `vacuum` reads tables page by page.
"""

from __future__ import annotations

__all__ = ["ANSWERS", "VERSION", "prefix", "script"]

VERSION = 1  # in the functions' names, so that processes of two versions can share a database while they are replaced
STRIPES = 16
UNPRUNED = 256  # bytes of a row's runs, above which those that were never ended are looked for
ANSWERS = "verbguard_answers"
LOCK = 7_091_546_203  # an advisory lock of whoever creates the schema; any number that nobody else uses


def prefix(schema: str | None) -> str:
    """What stands before a name in this schema; nothing for the connection's search path."""
    return "" if schema is None else '"' + schema.replace('"', '""') + '".'


def script(schema: str | None) -> str:
    """The statements that make what is missing, for one transaction."""
    made = "" if schema is None else f"CREATE SCHEMA IF NOT EXISTS {prefix(schema)[:-1]};"
    text = f"SELECT pg_advisory_xact_lock({LOCK}); {made} {_TABLES} {_FUNCTIONS}"
    return (
        text.replace("[p]", prefix(schema))
        .replace("[v]", f"{prefix(schema)}verbguard_v{VERSION}_")
        .replace("[stripes]", str(STRIPES))
        .replace("[unpruned]", str(UNPRUNED))
    )


_TABLES = """
CREATE SEQUENCE IF NOT EXISTS [p]verbguard_serial CACHE 1;

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

# Outcomes of a claim are numbers: 1 won, 2 done, 3 busy, 4 clash, 5 unknown, 6 it would win and came after `p_by`.
# `p_at` is null but in tests, which move the time.
_FUNCTIONS = """
CREATE OR REPLACE FUNCTION [v]now(p_at double precision) RETURNS double precision LANGUAGE sql VOLATILE AS $$
    SELECT coalesce(p_at, date_part('epoch', clock_timestamp()))
$$;

CREATE OR REPLACE FUNCTION [v]pruned(p_runs jsonb, p_now double precision) RETURNS jsonb LANGUAGE sql STABLE AS $$
    SELECT coalesce(jsonb_object_agg(key, value), '{}') FROM jsonb_each(p_runs) WHERE value::float8 > p_now
$$;

-- A run may write to these names from now on.
CREATE OR REPLACE FUNCTION [v]begin(
    p_names bytea[], p_run bigint, p_until double precision, p_now double precision, p_span double precision
) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO [p]verbguard_generations AS g (name, stripe, event, runs, until)
    SELECT name, p_run % [stripes], p_run, jsonb_build_object(p_run, p_until), greatest(p_now + 2 * p_span, p_until)
    FROM unnest(p_names) AS name
    ON CONFLICT (name, stripe) DO UPDATE SET
        event = excluded.event,
        runs = CASE WHEN pg_column_size(g.runs) > [unpruned] THEN [v]pruned(g.runs, p_now) ELSE g.runs END || excluded.runs,
        until = greatest(g.until, excluded.until);
END $$;

-- Something has happened to these names, and a run is over there if it has one of them. Returns the event.
CREATE OR REPLACE FUNCTION [v]finish(p_names bytea[], p_run bigint, p_now double precision, p_span double precision)
RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    event_ bigint := nextval('[p]verbguard_serial');
BEGIN
    INSERT INTO [p]verbguard_generations AS g (name, stripe, event, runs, until)
    SELECT name, CASE WHEN p_run = 0 THEN event_ ELSE p_run END % [stripes], event_, '{}', p_now + 2 * p_span
    FROM unnest(p_names) AS name
    ON CONFLICT (name, stripe) DO UPDATE SET
        event = excluded.event, runs = g.runs - p_run::text, until = greatest(g.until, excluded.until);
    RETURN event_;
END $$;

CREATE OR REPLACE FUNCTION [v]lock(p_names bytea[], p_run bigint) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    locked bigint;
BEGIN
    PERFORM FROM [p]verbguard_generations WHERE name = ANY (p_names) AND stripe = p_run % [stripes] ORDER BY name FOR UPDATE;
    GET DIAGNOSTICS locked = ROW_COUNT;
    IF locked < cardinality(p_names) THEN  -- what is not there cannot be locked
        INSERT INTO [p]verbguard_generations SELECT name, p_run % [stripes], 0, '{}', 0 FROM unnest(p_names) AS name
        ON CONFLICT DO NOTHING;
        PERFORM FROM [p]verbguard_generations
        WHERE name = ANY (p_names) AND stripe = p_run % [stripes] ORDER BY name FOR UPDATE;
    END IF;
END $$;

CREATE OR REPLACE FUNCTION [v]holds(p_view bigint[], p_seen bytea[], p_now double precision, p_epoch bigint)
RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    RETURN p_view IS NOT NULL AND p_seen IS NOT NULL AND p_view[1] = p_epoch AND NOT EXISTS (
        SELECT FROM [p]verbguard_generations WHERE name = ANY (p_seen) AND until > p_now AND event <> ALL (p_view)
    );
END $$;

CREATE OR REPLACE FUNCTION [v]claim(
    p_ident bytea, p_fingerprint bytea, p_keyless boolean, p_rerun boolean, p_lease double precision, p_keep double precision,
    p_principal bytea, p_key bytea, p_method bytea, p_path bytea, p_names bytea[], p_seen bytea[], p_by double precision,
    p_at double precision,
    OUT kind integer, OUT number bigint, OUT rest double precision, OUT answer bytea, OUT moment double precision
) LANGUAGE plpgsql AS $$
DECLARE
    held [p]verbguard_entries;
    committed [p]verbguard_answers;
    era [p]verbguard_epoch;
    there boolean;
    locked boolean := false;
    crowded boolean;
    seen bigint[];
BEGIN
    moment := [v]now(p_at);
    LOOP
        kind := 0;
        IF locked THEN
            SELECT * INTO held FROM [p]verbguard_entries WHERE ident = p_ident FOR UPDATE;
        ELSE
            SELECT * INTO held FROM [p]verbguard_entries WHERE ident = p_ident;
        END IF;
        there := FOUND;
        IF there AND held.data IS NOT NULL THEN
            IF p_keyless THEN
                SELECT * INTO era FROM [p]verbguard_epoch;
            END IF;
            IF held.until > moment AND (NOT p_keyless OR [v]holds(held.view, p_seen, moment, era.serial)) THEN
                kind := CASE WHEN held.fingerprint = p_fingerprint THEN 2 ELSE 4 END;
                answer := held.data;
            END IF;
        ELSIF there AND held.until + p_keep > moment THEN
            kind := CASE
                WHEN held.fingerprint <> p_fingerprint THEN 4 WHEN held.until > moment THEN 3 WHEN p_rerun THEN 0 ELSE 5
            END;
            rest := held.until - moment;
        END IF;
        IF NOT p_keyless AND kind <> 4 THEN
            SELECT * INTO committed FROM [p]verbguard_answers WHERE ident = p_ident AND expires > moment;
            IF FOUND THEN
                kind := CASE WHEN committed.fingerprint = p_fingerprint THEN 2 ELSE 4 END;
                answer := committed.record;
            END IF;
        END IF;
        IF kind > 0 THEN
            RETURN;
        END IF;
        IF [v]now(p_at) > p_by THEN
            kind := 6;
            RETURN;
        END IF;
        IF NOT there THEN
            INSERT INTO [p]verbguard_entries VALUES (p_ident, 0, '', 0, NULL, 0, 0, '', '', '', '', 0, 0, NULL)
            ON CONFLICT DO NOTHING;
            EXIT WHEN FOUND;
            locked := false;
        ELSE
            EXIT WHEN locked;
            locked := true;
        END IF;
    END LOOP;

    SELECT * INTO era FROM [p]verbguard_epoch;
    IF p_keyless AND p_keep > era.span THEN
        UPDATE [p]verbguard_epoch SET serial = nextval('[p]verbguard_serial'), span = p_keep WHERE span < p_keep;
        SELECT * INTO era FROM [p]verbguard_epoch;
    END IF;
    number := nextval('[p]verbguard_serial');
    IF p_names IS NOT NULL THEN
        PERFORM [v]begin(p_names, number, moment + p_lease + era.span, moment, era.span);
        IF p_keyless AND moment >= era.quiet THEN
            SELECT era.serial || coalesce(array_agg(DISTINCT event), '{}'), coalesce(bool_or(EXISTS (
                SELECT FROM jsonb_each(g.runs)
                WHERE value::float8 > moment AND NOT (g.name = p_seen[1] AND key = number::text)
            )), false)
            INTO seen, crowded FROM [p]verbguard_generations AS g WHERE name = ANY (p_seen) AND until > moment;
            IF crowded THEN
                seen := NULL;
            END IF;
        END IF;
    END IF;
    UPDATE [p]verbguard_entries SET
        token = number, fingerprint = p_fingerprint, until = moment + p_lease, view = seen, started = moment,
        dies = moment + p_lease + p_keep, principal = p_principal, key = p_key, method = p_method, path = p_path,
        status = 0, size = 0, data = NULL
    WHERE ident = p_ident;
    kind := 1;
END $$;

CREATE OR REPLACE FUNCTION [v]save(
    p_ident bytea, p_token bigint, p_keyless boolean, p_keep double precision, p_touched bytea[], p_seen bytea[],
    p_data bytea, p_status integer, p_at double precision
) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    moment double precision := [v]now(p_at);
    era [p]verbguard_epoch;
    held record;
    mine boolean;
    kept boolean := true;
    event_ bigint;
BEGIN
    SELECT token, view, started, data IS NOT NULL AS done INTO held
    FROM [p]verbguard_entries WHERE ident = p_ident FOR UPDATE;
    mine := FOUND AND held.token = p_token;
    IF mine AND held.done THEN
        UPDATE [p]verbguard_entries
        SET until = moment + p_keep, dies = moment + p_keep, data = p_data, status = p_status, size = length(p_data)
        WHERE ident = p_ident;
        RETURN true;
    END IF;
    SELECT * INTO era FROM [p]verbguard_epoch;
    IF mine AND p_keyless THEN
        IF p_touched IS NOT NULL THEN
            PERFORM [v]lock(p_touched, p_token);
        END IF;
        -- a run that took longer than generations are remembered for sure has not seen all
        kept := moment - held.started < era.span AND [v]holds(held.view, p_seen, moment, era.serial);
    END IF;
    IF p_touched IS NOT NULL THEN
        event_ := [v]finish(p_touched, p_token, moment, era.span);
    END IF;
    IF NOT mine THEN
        RETURN false;
    END IF;
    IF kept THEN
        UPDATE [p]verbguard_entries SET
            until = moment + p_keep, dies = moment + p_keep, data = p_data, status = p_status, size = length(p_data),
            view = CASE WHEN p_keyless THEN held.view || event_ END
        WHERE ident = p_ident;
    ELSE
        DELETE FROM [p]verbguard_entries WHERE ident = p_ident;
    END IF;
    RETURN true;
END $$;

CREATE OR REPLACE FUNCTION [v]release(p_ident bytea, p_token bigint, p_touched bytea[], p_at double precision)
RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    held record;
    mine boolean;
BEGIN
    SELECT token, data IS NOT NULL AS done INTO held FROM [p]verbguard_entries WHERE ident = p_ident FOR UPDATE;
    mine := FOUND AND held.token = p_token;
    IF p_touched IS NOT NULL AND NOT (mine AND held.done) THEN
        PERFORM [v]finish(p_touched, p_token, [v]now(p_at), span) FROM [p]verbguard_epoch;
    END IF;
    IF mine THEN
        DELETE FROM [p]verbguard_entries WHERE ident = p_ident;
    END IF;
    RETURN mine;
END $$;

CREATE OR REPLACE FUNCTION [v]settle(
    p_ident bytea, p_token bigint, p_keyless boolean, p_keep double precision, p_touched bytea[], p_seen bytea[],
    p_at double precision
) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    found_ bytea;
BEGIN
    SELECT a.record INTO found_ FROM [p]verbguard_answers AS a JOIN [p]verbguard_entries AS e USING (ident, fingerprint)
    WHERE a.ident = p_ident AND a.expires > [v]now(p_at);
    IF NOT FOUND THEN
        PERFORM [v]release(p_ident, p_token, p_touched, p_at);
        RETURN false;
    END IF;
    RETURN [v]save(p_ident, p_token, p_keyless, p_keep, p_touched, p_seen, found_,
        get_byte(found_, 2) + 256 * get_byte(found_, 3), p_at);
END $$;

CREATE OR REPLACE FUNCTION [v]renew(
    p_ident bytea, p_token bigint, p_lease double precision, p_keep double precision, p_names bytea[], p_at double precision
) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    moment double precision := [v]now(p_at);
    believed double precision;
    forgotten bytea[];
BEGIN
    UPDATE [p]verbguard_entries SET until = moment + p_lease, dies = moment + p_lease + p_keep
    WHERE ident = p_ident AND token = p_token AND data IS NULL;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    IF p_names IS NOT NULL THEN
        SELECT moment + p_lease + span INTO believed FROM [p]verbguard_epoch;
        PERFORM FROM [p]verbguard_generations
        WHERE name = ANY (p_names) AND stripe = p_token % [stripes] ORDER BY name FOR UPDATE;
        UPDATE [p]verbguard_generations
        SET runs = runs || jsonb_build_object(p_token, believed), until = greatest(until, believed)
        WHERE name = ANY (p_names) AND stripe = p_token % [stripes] AND (runs ->> p_token::text)::float8 > moment;
        -- silent for so long that it was believed to be over, and it is not: a new event
        SELECT array_agg(name ORDER BY name) INTO forgotten FROM unnest(p_names) AS name WHERE NOT EXISTS (
            SELECT FROM [p]verbguard_generations AS g
            WHERE g.name = name.name AND stripe = p_token % [stripes] AND (runs ->> p_token::text)::float8 > moment
        );
        IF forgotten IS NOT NULL THEN
            PERFORM [v]begin(forgotten, p_token, believed, moment, span) FROM [p]verbguard_epoch;
            UPDATE [p]verbguard_generations SET event = nextval('[p]verbguard_serial')
            WHERE name = ANY (forgotten) AND stripe = p_token % [stripes];
        END IF;
    END IF;
    RETURN true;
END $$;

-- A run without a claim begins; without `p_unclaimed` it is believed to go on for one window.
CREATE OR REPLACE FUNCTION [v]start(p_names bytea[], p_unclaimed double precision, p_at double precision)
RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    moment double precision := [v]now(p_at);
    run bigint := nextval('[p]verbguard_serial');
BEGIN
    PERFORM [v]begin(p_names, run, moment + coalesce(p_unclaimed, span), moment, span) FROM [p]verbguard_epoch;
    RETURN run;
END $$;

CREATE OR REPLACE FUNCTION [v]end(p_names bytea[], p_run bigint, p_at double precision) RETURNS bigint LANGUAGE plpgsql AS $$
BEGIN
    RETURN [v]finish(p_names, p_run, [v]now(p_at), span) FROM [p]verbguard_epoch;
END $$;

CREATE OR REPLACE FUNCTION [v]epoch(p_at double precision) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    begun bigint := nextval('[p]verbguard_serial');
BEGIN
    UPDATE [p]verbguard_epoch SET serial = begun, quiet = [v]now(p_at) + span;
    RETURN begun;
END $$;
"""
