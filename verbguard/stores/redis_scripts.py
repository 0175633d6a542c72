"""The operations of the Redis store in Lua: `transitions.py` once more, run inside the server, one script an operation.

What there is under a prefix, all of it in one slot of a cluster:

- `meta`, a hash: `last`, the latest serial; `born`, the first one; the epoch as `epoch`, `quiet` and `window`. It has no end of
  life: it is small, and a server that throws out what ends must not throw out this.
- `e:` and the digest of an ident, a hash: an entry. It is a run until it has `data`; `about` is told to people only.
- `g:` and the name of a generation, a sorted set: runs by the moment until which they are believed. Two members have scores
  below zero, where no moment is: `e` is the last event, `u` when nobody can ask any more, both negated.
- `audit`, a list of what operators did, the newest first.

Times are milliseconds, and whole: Lua's numbers hold them, and serials, exactly, and `redis.call` writes whole numbers as
such; `..` does not, hence `int`. ARGV[1] is the moment in tests, and empty
elsewhere, where the server's clock tells it. ARGV[2] is the highest serial that the caller has seen: a server that does not
know it has lost writes (it came back empty, or a replica took over that lagged), and a new epoch begins.
"""

from __future__ import annotations

from hashlib import sha1

from verbguard.stores.transitions import UNCLAIMED, WINDOW

__all__ = [
    "AUDITED",
    "BUSY",
    "BUMP",
    "CLAIM",
    "CLASH",
    "COMPLETE",
    "DONE",
    "END",
    "EPOCH",
    "EVICT",
    "LATE",
    "LINGER",
    "LIST",
    "RELEASE",
    "RENEW",
    "SAVE",
    "START",
    "Script",
    "UNKNOWN",
    "WON",
]

WON, DONE, BUSY, CLASH, UNKNOWN, LATE = range(1, 7)  # what a claim is answered; LATE: it would win, and nobody waits for it
AUDITED = 2_000  # lines that are kept of what operators did


class Script:
    """A script, and the digest by which a server that has seen it knows it."""

    __slots__ = ("name", "sha", "source")

    def __init__(self, name: str, *parts: str) -> None:
        self.name = name
        self.source = "\n".join(parts).encode()
        self.sha = sha1(self.source, usedforsecurity=False).hexdigest().encode()


_TIME = """
local call = redis.call  -- looked up once
local function int(number) return string.format('%.0f', number) end
local now = tonumber(ARGV[1])
if not now then
  local time = call('TIME')
  now = time[1] * 1000 + math.floor(time[2] / 1000)
end
-- a key outlives what is kept in it, so that its end is told by the moment in it and not by the key
local function expire(key, life) call('PEXPIRE', key, life + 1000) end
"""

_META = f"""
local meta = KEYS[1]
local known = call('HMGET', meta, 'last', 'born', 'epoch', 'quiet', 'window')
local last, born = tonumber(known[1]), tonumber(known[2])
local epoch, quiet, window = tonumber(known[3]) or 0, tonumber(known[4]) or 0, tonumber(known[5]) or {WINDOW * 1000:.0f}

local function serial()
  last = call('HINCRBY', meta, 'last', 1)
  return last
end

local function begin(until_quiet, longest)
  epoch, quiet, window = serial(), until_quiet, longest
  call('HSET', meta, 'epoch', epoch, 'quiet', quiet, 'window', window)
end

if not last then
  -- microseconds since 1970: larger than all that were given out here before the server was emptied
  last, born = now * 1000, now * 1000
  call('HSET', meta, 'last', last, 'born', born)
end
local seen = tonumber(ARGV[2])
if seen > 0 and (seen < born or last < seen) then
  if last < seen then call('HSET', meta, 'last', seen) end
  begin(now + window, window)
end
"""

_GENERATIONS = """
local function age(key, event, run, believed, over)
  if over then call('ZREM', key, over) end
  -- what is left of runs that never ended is looked for now and then
  if event % 16 == 0 then call('ZREMRANGEBYSCORE', key, 0, now) end
  -- a run that was seen to overlap may last a window, and its record another
  local needed = math.max(now + 2 * window, believed or 0)
  local known = call('ZSCORE', key, 'u')
  if known and -known >= needed then
    if run then call('ZADD', key, -event, 'e', believed, run) else call('ZADD', key, -event, 'e') end
    return
  end
  local forgotten = needed + window / 2 -- the next ones need not move it
  if run then
    call('ZADD', key, -event, 'e', -forgotten, 'u', believed, run)
  else
    call('ZADD', key, -event, 'e', -forgotten, 'u')
  end
  expire(key, forgotten - now)
end

local function age_all(first, past, event, run, believed, over)
  for place = first, past - 1 do age(KEYS[place], event, run, believed, over) end
end

-- the keys from `first` on are those that tell whether the target is as it was, its own before all
local function view(first)
  local events = {int(epoch)}
  for place = first, #KEYS do
    local found = call('ZMSCORE', KEYS[place], 'e', 'u')
    local event = 0
    if found[1] and -tonumber(found[2]) > now then event = -tonumber(found[1]) end
    events[#events + 1] = int(event)
  end
  return table.concat(events, ' ')
end

local function crowded(first, run)
  local after = '(' .. int(now)
  for place = first, #KEYS do
    local others = call('ZCOUNT', KEYS[place], after, '+inf')
    if others > 0 and place == first and call('ZSCORE', KEYS[place], run) then others = others - 1 end
    if others > 0 then return true end
  end
  return false
end
"""

# KEYS: meta, the entry, what is touched, what is seen. `touched` counts the former, and is -1 where there is no touch.
# What most retries are answered comes before the functions, whose making takes longer than that.
_HELD = f"""
local fingerprint, keyless = ARGV[4], ARGV[5] == '1'
local entry = KEYS[2]
local held = call('HMGET', entry, 'token', 'fingerprint', 'until', 'view', 'nonce', 'data')
local token, till = held[1], tonumber(held[3])
local function done()
  if held[2] == fingerprint then return {{last, {DONE}, held[6]}} end
  return {{last, {CLASH}}}
end
if held[6] and not keyless and till > now then return done() end
"""

_CLAIM = f"""
local nonce, rerun = ARGV[3], ARGV[6] == '1'
local lease, keep, touched = tonumber(ARGV[7]), tonumber(ARGV[8]), tonumber(ARGV[9])
local first = 3 + touched

if held[6] then
  if keyless and touched >= 0 and held[4] == view(first) and till > now then return done() end
elseif token and till + keep > now then
  if held[2] ~= fingerprint then return {{last, {CLASH}}} end
  if till > now then
    -- the client asks again because it lost our answer
    if held[5] == nonce then return {{last, {WON}, tonumber(token), now}} end
    return {{last, {BUSY}, till - now}}
  end
  if not rerun then return {{last, {UNKNOWN}}} end
end

local latest = tonumber(ARGV[11])
if latest and now > latest then return {{last, {LATE}, 0, now}} end

-- what was forgotten while the window was shorter must not be missed
if keyless and keep > window then begin(quiet, keep) end
local run = serial()
local sees = ''
if touched >= 0 then
  age_all(3, first, run, run, now + lease + window)
  if keyless and now >= quiet and not crowded(first, run) then sees = view(first) end
end
if token then call('DEL', entry) end
call('HSET', entry, 'token', run, 'fingerprint', fingerprint, 'until', now + lease, 'view', sees,
  'started', now, 'nonce', nonce, 'keep', keep, 'about', ARGV[10])
expire(entry, lease + keep)
return {{last, {WON}, run, now}}
"""

# KEYS: as for a claim; what the answer names stands behind what is touched, and is counted with it.
_END_RUN = """
local token, touched = ARGV[3], tonumber(ARGV[4])
local first = 3 + touched
local entry = KEYS[2]
local function end_run()
  if touched >= 0 then age_all(3, first, serial(), nil, nil, token) end
end
"""

_SAVE = """
local keep, keyless, data, status = tonumber(ARGV[5]), ARGV[6] == '1', ARGV[7], ARGV[8]
local held = call('HMGET', entry, 'token', 'view', 'started', 'status')
if held[1] ~= token then
  end_run()
  return {last, 0}
end
local leaves = held[2]
if not held[4] then
  local before = leaves
  leaves = ''
  if keyless then
    -- longer than generations are remembered for sure
    local unseen = now - tonumber(held[3]) >= window
    if touched < 0 or before == '' or unseen or before ~= view(first) then
      end_run()
      call('DEL', entry)
      return {last, 1}
    end
  end
  end_run()
  if keyless then leaves = view(first) end
end
call('HSET', entry, 'until', now + keep, 'view', leaves, 'data', data, 'status', status)
expire(entry, keep)
return {last, 1}
"""

_RELEASE = """
local held = call('HMGET', entry, 'token', 'status')
local mine = held[1] == token
if not (mine and held[2]) then end_run() end
if mine then call('DEL', entry) end
return {last, mine and 1 or 0}
"""

_RENEW = """
local token, touched, lease, keep = ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local entry = KEYS[2]
local held = call('HMGET', entry, 'token', 'status')
if held[1] ~= token or held[2] then return {last, 0} end
call('HSET', entry, 'until', now + lease)
expire(entry, lease + keep)
local believed = now + lease + window
local event
for place = 3, 2 + touched do
  local key = KEYS[place]
  local found = call('ZMSCORE', key, token, 'u')
  if found[1] and tonumber(found[1]) > now then
    local forgotten = math.max(-tonumber(found[2]), believed)
    call('ZADD', key, -forgotten, 'u', believed, token)
    expire(key, forgotten - now)
  else
    -- silent for so long that it was believed to be over, and it is not
    event = event or serial()
    age(key, event, token, believed)
  end
end
return {last, 1}
"""

# KEYS: meta, what is touched.
_START = f"""
local run = serial()
age_all(2, #KEYS + 1, run, run, now + {UNCLAIMED * 1000:.0f})
return {{last, run}}
"""

_LINGER = """
local run = serial()
age_all(2, #KEYS + 1, run, run, now + window)
return {last, 0}
"""

_END = """
age_all(2, #KEYS + 1, serial(), nil, nil, ARGV[3])
return {last, 0}
"""

_BUMP = """
age_all(2, #KEYS + 1, serial())
return {last, 0}
"""

_EPOCH = """
begin(now + window, window)
return {last, 0}
"""

# KEYS: meta, the entry, the audit; ARGV[3] is the operator, ARGV[4] the name of the entry.
_AUDIT = f"""
local function audit(what)
  call('LPUSH', KEYS[3], int(now) .. '\\n' .. what .. '\\n' .. ARGV[4] .. ARGV[3])
  call('LTRIM', KEYS[3], 0, {AUDITED - 1})
end
"""

_EVICT = """
if call('DEL', KEYS[2]) == 0 then return {last, 0} end
audit('evict')
return {last, 1}
"""

_COMPLETE = """
local keep, data, status = tonumber(ARGV[5]), ARGV[6], ARGV[7]
local held = call('HMGET', KEYS[2], 'token', 'status')
if not held[1] or held[2] then return {last, 0} end
-- a new token, so that the run's own word comes too late
call('HSET', KEYS[2], 'token', serial(), 'until', now + keep, 'view', '', 'data', data, 'status', status)
expire(KEYS[2], keep)
audit('complete ' .. status)
return {last, 1}
"""

# KEYS: entries. ARGV[2] says whether the answers themselves are wanted.
_LIST = """
local rows = {int(now)}
for place = 1, #KEYS do
  local row = call('HMGET', KEYS[place], 'token', 'until', 'keep', 'about', 'status')
  row[6] = call('HSTRLEN', KEYS[place], 'data')
  if ARGV[2] == '1' then row[7] = call('HGET', KEYS[place], 'data') end
  rows[#rows + 1] = row
end
return rows
"""

_ALL = (_TIME, _META, _GENERATIONS)

CLAIM = Script("claim", _TIME, _META, _HELD, _GENERATIONS, _CLAIM)
SAVE = Script("save", *_ALL, _END_RUN, _SAVE)
RELEASE = Script("release", *_ALL, _END_RUN, _RELEASE)
RENEW = Script("renew", *_ALL, _RENEW)
START = Script("start", *_ALL, _START)
END = Script("end", *_ALL, _END)
BUMP = Script("bump", *_ALL, _BUMP)
LINGER = Script("linger", *_ALL, _LINGER)
EPOCH = Script("epoch", *_ALL, _EPOCH)
EVICT = Script("evict", _TIME, _META, _AUDIT, _EVICT)
COMPLETE = Script("complete", _TIME, _META, _AUDIT, _COMPLETE)
LIST = Script("list", _TIME, _LIST)
