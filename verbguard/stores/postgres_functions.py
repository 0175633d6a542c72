"""The operations of the PostgreSQL store as functions of the server, each for its caller one statement.

What several of them do with a row is a text that stands in each: a function called by a function costs as much as a statement.
"""

from __future__ import annotations

import re

__all__ = ["functions"]


def functions() -> str:
    """Their definitions, in which the names of the schema, and numbers, are still to be put."""
    text = _FUNCTIONS
    for name, fragment in (("take", _TAKE), ("keep", _KEEP), ("serial", _SERIAL)):
        text = text.replace(f"[{name}]", fragment.strip())
    text = re.sub(r"\[begun (\w+)\]", lambda place: _BEGUN.replace("[now]", place[1]), text)
    return re.sub(r"\[ended (\w+::text(?:\[\])?)\]", lambda place: _ENDED.replace("[runs]", place[1]), text)


# One stripe for all of a transaction, and another a tenth of a second later: runs that go on for long do not crowd in one row.
_SERIAL = """(nextval('[p]verbguard_serial')
    + (pg_backend_pid() + floor(date_part('epoch', now()) * 10)::bigint) % [stripes])"""

# What claims do with the row of their ident, alone or together. `p_new` says that there was nothing a moment ago, `kind` the
# outcome: 1 won, 2 done, 3 busy, 4 clash, 5 unknown, 6 it would win and came after `p_by`.
_TAKE = """
    kind := 0;
    rest := NULL;
    answer := NULL;
    locked := false;
    number := NULL;
    IF p_new AND (p_by IS NULL OR [v]now(p_at) <= p_by) THEN
        INSERT INTO [p]verbguard_entries VALUES (
            p_ident, [serial], p_fingerprint, moment + p_lease, NULL, moment, moment + p_lease + p_keep,
            p_principal, p_key, p_method, p_path, 0, 0, NULL
        ) ON CONFLICT DO NOTHING RETURNING token INTO number;
        kind := CASE WHEN FOUND THEN 1 ELSE 0 END;
    END IF;
    WHILE kind = 0 LOOP
        SELECT e.fingerprint, e.until, e.data, e.view INTO held FROM [p]verbguard_entries AS e WHERE ident = p_ident;
        IF held.data IS NOT NULL THEN
            IF held.until > moment AND (NOT p_keyless OR [v]holds(held.view, p_seen, moment)) THEN
                kind := CASE WHEN held.fingerprint = p_fingerprint THEN 2 ELSE 4 END;
                answer := held.data;
            END IF;
        ELSIF held.until + p_keep > moment THEN
            kind := CASE
                WHEN held.fingerprint <> p_fingerprint THEN 4 WHEN held.until > moment THEN 3 WHEN p_rerun THEN 0 ELSE 5
            END;
            rest := held.until - moment;
        END IF;
        IF kind <> 4 AND NOT p_keyless THEN
            SELECT c.fingerprint, c.record INTO told FROM [p]verbguard_answers AS c WHERE ident = p_ident AND expires > moment;
            IF FOUND THEN
                kind := CASE WHEN told.fingerprint = p_fingerprint THEN 2 ELSE 4 END;
                answer := told.record;
            END IF;
        END IF;
        IF kind > 0 THEN
            EXIT;
        ELSIF [v]now(p_at) > p_by THEN
            kind := 6;
            moment := [v]now(p_at);  -- it has waited for a row: the caller's next claim goes by this
        ELSIF held.until IS NULL THEN
            INSERT INTO [p]verbguard_entries VALUES (
                p_ident, [serial], p_fingerprint, moment + p_lease, NULL, moment, moment + p_lease + p_keep,
                p_principal, p_key, p_method, p_path, 0, 0, NULL
            ) ON CONFLICT DO NOTHING RETURNING token INTO number;
            kind := CASE WHEN FOUND THEN 1 ELSE 0 END;
        ELSIF locked THEN
            UPDATE [p]verbguard_entries SET
                token = [serial], fingerprint = p_fingerprint, until = moment + p_lease, view = NULL, started = moment,
                dies = moment + p_lease + p_keep, principal = p_principal, key = p_key, method = p_method, path = p_path,
                status = 0, size = 0, data = NULL
            WHERE ident = p_ident RETURNING token INTO number;
            kind := 1;
        ELSE
            PERFORM FROM [p]verbguard_entries WHERE ident = p_ident FOR UPDATE;
            locked := FOUND;
        END IF;
    END LOOP;
"""

# What a row becomes where runs begin; those that were never ended are looked for when there are many.
_BEGUN = """event = excluded.event, runs = CASE
            WHEN pg_column_size(g.runs) > [unpruned] THEN [v]pruned(g.runs, [now]) ELSE g.runs
        END || excluded.runs, until = greatest(g.until, excluded.until)"""

# What a row becomes where runs end.
_ENDED = "event = excluded.event, runs = g.runs - [runs], until = greatest(g.until, excluded.until)"

# What saves of answers with keys do with the row of their ident; `first` and `kept` say what it was.
_KEEP = """
    UPDATE [p]verbguard_entries SET
        until = moment + p_keep, dies = moment + p_keep, data = p_data, status = p_status, size = length(p_data)
    WHERE ident = p_ident AND token = p_token AND data IS NULL;
    first := FOUND;
    IF NOT first THEN
        UPDATE [p]verbguard_entries SET
            until = moment + p_keep, dies = moment + p_keep, data = p_data, status = p_status, size = length(p_data)
        WHERE ident = p_ident AND token = p_token;
    END IF;
    kept := FOUND;
"""

# `p_at` is null but in tests, which move the time.
_FUNCTIONS = """
CREATE OR REPLACE FUNCTION [v]now(p_at double precision) RETURNS double precision LANGUAGE sql VOLATILE AS $$
    SELECT coalesce(p_at, date_part('epoch', clock_timestamp()))
$$;

CREATE OR REPLACE FUNCTION [v]pruned(p_runs jsonb, p_now double precision) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    RETURN (SELECT coalesce(jsonb_object_agg(key, value), '{}') FROM jsonb_each(p_runs) WHERE value::float8 > p_now);
END $$;

-- A run may write to these names from now on.
CREATE OR REPLACE FUNCTION [v]begin(
    p_names bytea[], p_run bigint, p_until double precision, p_now double precision, p_span double precision
) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO [p]verbguard_generations AS g (name, stripe, event, runs, until)
    SELECT name, p_run % [stripes], p_run, jsonb_build_object(p_run, p_until), greatest(p_now + 2 * p_span, p_until)
    FROM unnest(p_names) AS name
    ON CONFLICT (name, stripe) DO UPDATE SET [begun p_now];
END $$;

-- The same for runs that begin together, but for those that are null. `p_names` are what each touches, one behind the other.
CREATE OR REPLACE FUNCTION [v]begun(p_runs bigint[], p_untils double precision[], p_names bytea[], p_now double precision)
RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO [p]verbguard_generations AS g (name, stripe, event, runs, until)
    SELECT substr(names, n, 16), run % [stripes], max(run), jsonb_object_agg(run, believed),
        max(greatest(p_now + 2 * span, believed))
    FROM unnest(p_runs, p_untils, p_names) AS begun (run, believed, names), generate_series(1, length(names), 16) AS n,
        [p]verbguard_epoch
    WHERE run IS NOT NULL GROUP BY 1, 2 ORDER BY 1, 2
    ON CONFLICT (name, stripe) DO UPDATE SET [begun p_now];
END $$;

-- Something has happened to these names, and a run is over there if it has one of them. Returns the event.
CREATE OR REPLACE FUNCTION [v]finish(p_names bytea[], p_run bigint, p_now double precision) RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
    event_ bigint := [serial];
BEGIN
    INSERT INTO [p]verbguard_generations AS g (name, stripe, event, runs, until)
    SELECT name, CASE WHEN p_run = 0 THEN event_ ELSE p_run END % [stripes], event_, '{}', p_now + 2 * span
    FROM unnest(p_names) AS name, [p]verbguard_epoch
    ON CONFLICT (name, stripe) DO UPDATE SET [ended p_run::text];
    RETURN event_;
END $$;

-- The same for runs that end together, but for those that are null. `p_names` are what each touched, one behind the other.
CREATE OR REPLACE FUNCTION [v]finished(p_runs bigint[], p_names bytea[], p_event bigint, p_now double precision) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO [p]verbguard_generations AS g (name, stripe, event, runs, until)
    SELECT substr(names, n, 16), CASE WHEN run = 0 THEN p_event ELSE run END % [stripes], p_event, '{}', p_now + 2 * max(span)
    FROM unnest(p_runs, p_names) AS ended (run, names), generate_series(1, length(names), 16) AS n, [p]verbguard_epoch
    WHERE run IS NOT NULL GROUP BY 1, 2 ORDER BY 1, 2
    ON CONFLICT (name, stripe) DO UPDATE SET [ended p_runs::text[]];
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

CREATE OR REPLACE FUNCTION [v]holds(p_view bigint[], p_seen bytea[], p_now double precision) RETURNS boolean
LANGUAGE plpgsql AS $$
BEGIN
    RETURN p_view IS NOT NULL AND p_seen IS NOT NULL AND p_view[1] = (SELECT serial FROM [p]verbguard_epoch) AND NOT EXISTS (
        SELECT FROM [p]verbguard_generations WHERE name = ANY (p_seen) AND until > p_now AND event <> ALL (p_view)
    );
END $$;

CREATE OR REPLACE FUNCTION [v]claim(
    p_ident bytea, p_fingerprint bytea, p_keyless boolean, p_rerun boolean, p_lease double precision, p_keep double precision,
    p_principal bytea, p_key bytea, p_method bytea, p_path bytea, p_names bytea[], p_seen bytea[], p_by double precision,
    p_at double precision, p_new boolean,
    OUT kind integer, OUT number bigint, OUT rest double precision, OUT answer bytea, OUT moment double precision
) LANGUAGE plpgsql AS $$
DECLARE
    held record;
    told record;
    locked boolean;
    era [p]verbguard_epoch;
    crowded boolean;
    seen bigint[];
BEGIN
    moment := [v]now(p_at);
    [take]
    IF kind = 1 AND p_keyless THEN
        UPDATE [p]verbguard_epoch SET serial = [serial], span = p_keep WHERE span < p_keep;
    END IF;
    IF kind <> 1 OR p_names IS NULL THEN
        RETURN;
    END IF;
    INSERT INTO [p]verbguard_generations AS g (name, stripe, event, runs, until)
    SELECT name, number % [stripes], number, jsonb_build_object(number, moment + p_lease + span),
        moment + span + greatest(span, p_lease)
    FROM unnest(p_names) AS name, [p]verbguard_epoch
    ON CONFLICT (name, stripe) DO UPDATE SET [begun moment];
    IF p_keyless THEN
        SELECT * INTO era FROM [p]verbguard_epoch;
        SELECT era.serial || coalesce(array_agg(DISTINCT event), '{}'), coalesce(bool_or(EXISTS (
            SELECT FROM jsonb_each(g.runs)
            WHERE value::float8 > moment AND NOT (g.name = p_seen[1] AND key = number::text)
        )), false)
        INTO seen, crowded FROM [p]verbguard_generations AS g WHERE name = ANY (p_seen) AND until > moment;
        IF moment >= era.quiet AND NOT crowded THEN
            UPDATE [p]verbguard_entries SET view = seen WHERE ident = p_ident;
        END IF;
    END IF;
END $$;

-- Claims with keys that have come together, sorted by ident; `p_names` are what each touches, one behind the other. Rows of
-- generations are locked when all entries are, and once for all.
CREATE OR REPLACE FUNCTION [v]claims(
    p_idents bytea[], p_fingerprints bytea[], p_reruns boolean[], p_leases double precision[], p_keeps double precision[],
    p_principals bytea[], p_keys bytea[], p_methods bytea[], p_paths bytea[], p_names bytea[], p_bys double precision[],
    p_at double precision
) RETURNS TABLE (kind integer, number bigint, rest double precision, answer bytea, moment double precision)
LANGUAGE plpgsql SET lock_timeout = [patience] AS $$
DECLARE
    p_keyless constant boolean := false;
    p_seen constant bytea[] := NULL;
    p_ident bytea;
    p_fingerprint bytea;
    p_rerun boolean;
    p_lease double precision;
    p_keep double precision;
    p_principal bytea;
    p_key bytea;
    p_method bytea;
    p_path bytea;
    p_by double precision;
    p_new boolean;
    held record;
    told record;
    locked boolean;
    span_ double precision := span FROM [p]verbguard_epoch;
    numbers bigint[];
    believed double precision[];
BEGIN
    moment := [v]now(p_at);
    FOR p_ident, p_fingerprint, p_rerun, p_lease, p_keep, p_principal, p_key, p_method, p_path, p_by, p_new IN
        SELECT asked.*, (SELECT ident FROM [p]verbguard_entries AS e WHERE e.ident = asked.ident) IS NULL
            AND (SELECT ident FROM [p]verbguard_answers AS a WHERE a.ident = asked.ident) IS NULL
        FROM unnest(
            p_idents, p_fingerprints, p_reruns, p_leases, p_keeps, p_principals, p_keys, p_methods, p_paths, p_bys
        ) AS asked (ident, fingerprint, rerun, lease, keep, principal, key, method, path, by)
    LOOP
        [take]
        numbers := array_append(numbers, number);
        believed := array_append(believed, moment + p_lease + span_);
        RETURN NEXT;
    END LOOP;
    PERFORM [v]begun(numbers, believed, p_names, moment);
END $$;

CREATE OR REPLACE FUNCTION [v]save(
    p_ident bytea, p_token bigint, p_keyless boolean, p_keep double precision, p_touched bytea[], p_seen bytea[],
    p_data bytea, p_status integer, p_at double precision
) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    moment double precision := [v]now(p_at);
    era [p]verbguard_epoch;
    held record;
    event_ bigint;
    first boolean;
    kept boolean;
BEGIN
    IF p_keyless THEN
        SELECT view, started INTO held FROM [p]verbguard_entries
        WHERE ident = p_ident AND token = p_token AND data IS NULL FOR UPDATE;
        IF FOUND THEN
            PERFORM [v]lock(p_touched, p_token) WHERE p_touched IS NOT NULL;
            SELECT * INTO era FROM [p]verbguard_epoch;
            -- a run that took longer than generations are remembered for sure has not seen all
            kept := moment - held.started < era.span AND [v]holds(held.view, p_seen, moment);
            event_ := [v]finish(p_touched, p_token, moment);
            IF kept THEN
                UPDATE [p]verbguard_entries SET
                    until = moment + p_keep, dies = moment + p_keep, data = p_data, status = p_status, size = length(p_data),
                    view = view || event_
                WHERE ident = p_ident;
            ELSE
                DELETE FROM [p]verbguard_entries WHERE ident = p_ident;
            END IF;
            RETURN true;
        END IF;
    END IF;
    [keep]
    IF p_touched IS NOT NULL AND (first OR NOT kept) THEN
        INSERT INTO [p]verbguard_generations AS g (name, stripe, event, runs, until)
        SELECT name, p_token % [stripes], [serial], '{}', moment + 2 * span FROM unnest(p_touched) AS name, [p]verbguard_epoch
        ON CONFLICT (name, stripe) DO UPDATE SET [ended p_token::text];
    END IF;
    RETURN kept;
END $$;

-- Answers with keys that have come together, sorted by ident; `p_names` are what each touched, one behind the other.
CREATE OR REPLACE FUNCTION [v]saves(
    p_idents bytea[], p_tokens bigint[], p_keeps double precision[], p_names bytea[], p_datas bytea[], p_statuses integer[],
    p_at double precision
) RETURNS SETOF boolean LANGUAGE plpgsql SET lock_timeout = [patience] AS $$
DECLARE
    moment double precision := [v]now(p_at);
    p_ident bytea;
    p_token bigint;
    p_keep double precision;
    p_data bytea;
    p_status integer;
    first boolean;
    kept boolean;
    ended bigint[];
BEGIN
    FOR p_ident, p_token, p_keep, p_data, p_status IN
        SELECT * FROM unnest(p_idents, p_tokens, p_keeps, p_datas, p_statuses)
    LOOP
        [keep]
        ended := array_append(ended, CASE WHEN first OR NOT kept THEN p_token END);
        RETURN NEXT kept;
    END LOOP;
    PERFORM [v]finished(ended, p_names, [serial], moment);
END $$;

CREATE OR REPLACE FUNCTION [v]release(p_ident bytea, p_token bigint, p_touched bytea[], p_at double precision)
RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    done boolean;
    mine boolean;
BEGIN
    DELETE FROM [p]verbguard_entries WHERE ident = p_ident AND token = p_token RETURNING data IS NOT NULL INTO done;
    mine := FOUND;
    IF p_touched IS NOT NULL AND NOT (mine AND done) THEN
        PERFORM [v]finish(p_touched, p_token, [v]now(p_at));
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
            UPDATE [p]verbguard_generations SET event = [serial]
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
    run bigint := [serial];
BEGIN
    PERFORM [v]begin(p_names, run, moment + coalesce(p_unclaimed, span), moment, span) FROM [p]verbguard_epoch;
    RETURN run;
END $$;

CREATE OR REPLACE FUNCTION [v]end(p_names bytea[], p_run bigint, p_at double precision) RETURNS bigint
LANGUAGE plpgsql AS $$
BEGIN
    RETURN [v]finish(p_names, p_run, [v]now(p_at));
END $$;

CREATE OR REPLACE FUNCTION [v]starts(p_names bytea[], p_unclaimed double precision, p_at double precision)
RETURNS SETOF bigint LANGUAGE plpgsql SET lock_timeout = [patience] AS $$
DECLARE
    moment double precision := [v]now(p_at);
    begun bigint[] := ARRAY(SELECT [serial] FROM unnest(p_names));
BEGIN
    PERFORM [v]begun(begun, array_fill(moment + p_unclaimed, ARRAY[cardinality(begun)]), p_names, moment);
    RETURN QUERY SELECT * FROM unnest(begun);
END $$;

CREATE OR REPLACE FUNCTION [v]ends(p_names bytea[], p_runs bigint[], p_at double precision) RETURNS SETOF bigint
LANGUAGE plpgsql SET lock_timeout = [patience] AS $$
DECLARE
    event_ bigint := [serial];
BEGIN
    PERFORM [v]finished(p_runs, p_names, event_, [v]now(p_at));
    RETURN QUERY SELECT event_ FROM unnest(p_runs);
END $$;

CREATE OR REPLACE FUNCTION [v]epoch(p_at double precision) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    begun bigint := [serial];
BEGIN
    UPDATE [p]verbguard_epoch SET serial = begun, quiet = [v]now(p_at) + span;
    RETURN begun;
END $$;
"""
