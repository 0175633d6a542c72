"""A record as bytes: it survives, and what is no record says so."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from verbguard.http import Headers
from verbguard.records import Record, State

# How long an example takes is the machine's business.
settings.register_profile("records", deadline=None, suppress_health_check=[HealthCheck.too_slow])
properties = settings(settings.get_profile("records"))

NAMES = st.binary(max_size=20).filter(lambda name: b"\n" not in name and b":" not in name)
VALUES = st.binary(max_size=60).filter(lambda value: b"\n" not in value)
RECORDS = st.builds(
    Record,
    st.integers(min_value=100, max_value=599),
    st.lists(st.tuples(NAMES, VALUES), max_size=8),
    st.binary(max_size=300),
    st.sampled_from(State),
)


def told(record: Record) -> tuple[int, Headers, bytes, State]:
    return record.status, record.headers, record.body, record.state


@properties
@given(RECORDS, st.binary(max_size=70))
@example(Record(204, []), b"")
@example(Record(200, [(b"", b"")]), b"")
@example(Record(200, [(b"", b""), (b"", b"")], b"\n"), b"\n")
@example(Record(200, [(b"link", b"</a:b>"), (b"link", b"</a:b>")], b":"), b"")
def test_a_record_survives(record: Record, prefix: bytes) -> None:
    """Status, field lines in their order and repeated, content and state come back byte for byte, behind any prefix."""
    packed = record.pack(prefix)
    assert packed.startswith(prefix)
    assert told(Record.unpack(packed, len(prefix))) == told(record)


@pytest.mark.parametrize(
    "headers",
    [
        [(b"x\n", b"1")],
        [(b"x", b"\n")],
        [(b"x", b"1\nset-cookie: a=b")],
        [(b"x", b"1\n")],
        [(b"\nx", b"1"), (b"y", b"2")],
        [(b"x", b"1"), (b"y", b"2\n")],
        [(b"x", b"1\n2\n3"), (b"y", b"2"), (b"z", b"\r\n")],
        [(b"x:y", b"1")],
        [(b"x", b"1"), (b":", b"2")],
    ],
)
def test_what_cannot_be_framed_is_refused(headers: Headers) -> None:
    """A line feed, or a colon in a name, would come back as another field: such a record is never made."""
    with pytest.raises(ValueError, match="field"):
        Record(200, headers).pack()


@properties
@given(st.lists(st.tuples(st.binary(max_size=6), st.binary(max_size=6)), max_size=4), st.binary(max_size=9))
def test_a_record_is_refused_or_survives(headers: Headers, body: bytes) -> None:
    """There is nothing between: no field line is changed on its way through the store."""
    try:
        packed = Record(200, headers, body).pack()
    except ValueError:
        return
    assert told(Record.unpack(packed)) == (200, headers, body, State.WHOLE)


def is_one_or_says_no(data: bytes, start: int = 0) -> None:
    try:
        record = Record.unpack(data, start)
    except ValueError:
        return
    assert record.pack(data[:start]) == data


@properties
@given(st.binary(max_size=80), st.integers(min_value=0, max_value=90))
@example(b"", 0)
@example(b"\x01", 0)
def test_garbage_is_no_record(data: bytes, start: int) -> None:
    """Any bytes are a record, which packs into the same bytes, or a ValueError; nothing else is raised."""
    is_one_or_says_no(data, min(start, len(data)))


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A record in which a few bytes are others, or whose end is missing."""
    data = bytearray(draw(RECORDS).pack())
    for _ in range(draw(st.integers(min_value=0, max_value=3))):
        place = draw(st.integers(min_value=0, max_value=min(len(data) - 1, 12)))
        data[place] = draw(st.integers(min_value=0, max_value=255))
    return bytes(data[: draw(st.integers(min_value=0, max_value=len(data)))])


@properties
@given(damaged())
@example(b"\x01\x01\xc8\x00\x03\x00\x00\x00abc")
@example(b"\x01\x01\xc8\x00\x04\x00\x00\x00a:b\n")
def test_a_damaged_record_is_no_other(data: bytes) -> None:
    """Damage shows, or is a record again; a field line without a colon is none."""
    is_one_or_says_no(data)


@pytest.mark.parametrize("version", [0, 2, 255])
def test_another_layout_is_refused(version: int) -> None:
    """In a rolling deploy an older process meets a newer record, and the other way round: neither guesses."""
    packed = Record(200, [(b"x", b"1")], b"body").pack()
    with pytest.raises(ValueError, match="version"):
        Record.unpack(bytes([version]) + packed[1:])


def test_a_record_is_a_response() -> None:
    """The kept answer is sent as it was."""
    response = Record(201, [(b"location", b"/items/2"), (b"x", b"1"), (b"x", b"2")], b"made").response()
    assert (response.status, response.headers, response.body) == (
        201,
        [(b"location", b"/items/2"), (b"x", b"1"), (b"x", b"2")],
        b"made",
    )
