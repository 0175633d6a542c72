"""The facts about methods: a second copy of the status table, kept apart so that a slip in one of them shows."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from verbguard.methods import BODILESS, EXTENSION, METHODS, REGISTERED, SAFE, allow_value, may_answer

# How long an example takes is the machine's business.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")

COLUMNS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "QUERY")

# Y ordinary, c conditional or unusual, N no meaning. Three rows are stricter than RFC 9110 alone, since the guard says in
# their place what was meant: 203 and 226 (only a proxy makes them), and 205 on PUT and PATCH (only POST has a form to reset).
#            GET HEAD POST PUT PATCH DELETE OPTIONS TRACE CONNECT QUERY
STATUSES = {
    (200,): "   Y  Y    Y    Y   Y     Y      Y       Y     Y       Y",
    (201,): "   N  N    Y    Y   c     N      N       N     N       N",
    (202,): "   c  c    Y    Y   Y     Y      N       N     N       c",
    (203,): "   N  N    N    N   N     N      N       N     N       N",
    (204,): "   c  c    Y    Y   Y     Y      Y       N     N       c",
    (205,): "   N  N    Y    N   N     N      N       N     N       N",
    (206,): "   c  N    N    N   N     N      N       N     N       c",
    (207,): "   N  N    c    N   c     c      N       N     N       N",
    (208,): "   N  N    N    N   N     N      N       N     N       N",
    (226,): "   N  N    N    N   N     N      N       N     N       N",
    (300,): "   Y  Y    c    c   c     c      c       N     c       c",
    (301,): "   Y  Y    c    c   c     c      c       c     c       c",
    (302,): "   Y  Y    c    c   c     c      c       c     c       c",
    (303,): "   Y  Y    Y    Y   Y     Y      c       c     c       Y",
    (304,): "   Y  Y    N    N   N     N      N       N     N       c",
    (305, 306): "N N    N    N   N     N      N       N     N       N",
    (307, 308): "Y Y    Y    Y   Y     Y      Y       c     c       Y",
    (400, 401, 403, 404, 410): "Y Y Y Y Y Y Y Y Y Y",
    (402, 408): "c c    c    c   c     c      c       c     c       c",
    (405,): "   c  c    Y    Y   Y     Y      Y       Y     Y       Y",
    (406,): "   Y  Y    Y    Y   Y     Y      c       N     N       Y",
    (407,): "   c  c    c    c   c     c      c       c     Y       c",
    (409,): "   c  c    Y    Y   Y     Y      c       N     N       c",
    (411,): "   c  c    Y    Y   Y     c      c       N     N       Y",
    (412,): "   Y  Y    Y    Y   Y     Y      N       N     N       Y",
    (413,): "   c  c    Y    Y   Y     c      c       c     N       Y",
    (414, 431): "Y Y    Y    Y   Y     Y      Y       Y     Y       Y",
    (415,): "   N  N    Y    Y   Y     c      c       N     N       Y",
    (416,): "   c  N    N    N   N     N      N       N     N       c",
    (417,): "   c  c    c    c   c     c      c       c     N       c",
    (418,): "   N  N    N    N   N     N      N       N     N       N",
    (421,): "   Y  Y    Y    Y   Y     Y      Y       Y     Y       Y",
    (422,): "   c  c    Y    Y   Y     c      c       N     N       Y",
    (423, 424): "c c    c    c   c     c      N       N     N       N",
    (425,): "   c  c    Y    Y   Y     Y      c       c     c       c",
    (426,): "   Y  Y    Y    Y   Y     Y      Y       Y     Y       Y",
    (428,): "   c  c    Y    Y   Y     Y      N       N     N       c",
    (429, 451, 500, 503): "Y Y Y Y Y Y Y Y Y Y",
    (501,): "   N  N    Y    Y   Y     Y      Y       Y     Y       Y",
    (502, 504): "c c    c    c   c     c      c       c     c       c",
    (505,): "   Y  Y    Y    Y   Y     Y      Y       Y     Y       Y",
    (506, 508, 510): "c c c c c c c c c c",
    (507,): "   N  N    c    c   c     N      N       N     N       N",
    (511,): "   N  N    N    N   N     N      N       N     N       N",
}
LISTED = {code for codes in STATUSES for code in codes}


@pytest.mark.parametrize(("codes", "marks"), STATUSES.items(), ids=lambda value: str(value) if isinstance(value, tuple) else "")
def test_the_status_table(codes: tuple[int, ...], marks: str) -> None:
    """Every final status of the table is judged for all ten methods as RFC 9110 and its companions say."""
    expected = [mark in "Yc" for mark in marks.split()]
    assert len(expected) == len(COLUMNS)
    for code in codes:
        assert [may_answer(method, code) for method in COLUMNS] == expected, code


@pytest.mark.parametrize("code", [-1, 0, 99, 100, 101, 103, 104, 199, 600, 999, 1000])
def test_no_final_answer_is_interim_or_no_status(code: int) -> None:
    """1xx never ends an exchange, and a number outside 100 to 599 is no status, whatever the method."""
    assert not any(may_answer(method, code) for method in (*COLUMNS, "PROPFIND", "FOO"))


@pytest.mark.parametrize("code", sorted(set(range(200, 600)) - LISTED))
def test_codes_outside_the_table_are_read_by_their_class(code: int) -> None:
    """An unregistered code is x00 of its class, which every method may answer."""
    assert all(may_answer(method, code) for method in COLUMNS)


def test_other_methods_are_left_alone() -> None:
    """The table speaks of ten methods; what WebDAV and private methods answer is theirs."""
    assert all(may_answer(method, code) for method in ("PROPFIND", "LOCK", "FOO") for code in range(200, 600))


PUT_SUCCESS = {200, 201, 202, 204}
POST_NEVER = {206, 304, 416}


def test_the_fourth_promise() -> None:
    """PUT succeeds with 200, 201, 202 or 204; POST answers neither 206, 304 nor 416."""
    assert {code for code in LISTED if 200 <= code < 300 and may_answer("PUT", code)} == PUT_SUCCESS
    assert not any(may_answer("POST", code) for code in POST_NEVER)


PROPERTIES = [
    # method    safe   idempotent  keyed
    ("GET", True, True, False),
    ("HEAD", True, True, False),
    ("OPTIONS", True, True, False),
    ("TRACE", True, True, False),
    ("QUERY", True, True, False),
    ("PUT", False, True, True),
    ("DELETE", False, True, True),
    ("POST", False, False, True),
    ("PATCH", False, False, True),
    ("CONNECT", False, False, False),
]


@pytest.mark.parametrize(("method", "safe", "idempotent", "keyed"), PROPERTIES, ids=[row[0] for row in PROPERTIES])
def test_the_properties_of_methods(method: str, safe: bool, idempotent: bool, keyed: bool) -> None:
    """Safe and idempotent as the registry has them; a key is honoured where a repetition could do harm."""
    found = METHODS[method]
    assert (found.safe, found.idempotent, found.keyed) == (safe, idempotent, keyed)
    assert (method in SAFE) == safe


def test_ten_methods_and_the_registry() -> None:
    """The table has the ten methods of RFC 9110, 5789 and 10008; the registry's others are known beside them."""
    assert set(METHODS) == {row[0] for row in PROPERTIES} == set(COLUMNS)
    assert not EXTENSION & METHODS.keys()
    assert {"PROPFIND", "MKCOL", "LOCK", "UNLOCK", "COPY", "MOVE", "REPORT", "SEARCH", "PROPPATCH"} < REGISTERED
    assert {"PROPFIND", "REPORT", "SEARCH"} < SAFE
    assert not {"MKCOL", "LOCK", "COPY", "MOVE", "PROPPATCH", "ACL"} & SAFE
    assert "FOO" not in REGISTERED


def test_statuses_without_content() -> None:
    """1xx, 204, 205 and 304 have no content, nothing else."""
    assert {code for code in range(100, 600) if code in BODILESS} == {*range(100, 200), 204, 205, 304}


ALLOWS = [
    (set(), b""),
    ({"GET"}, b"GET"),
    ({"OPTIONS", "GET", "HEAD"}, b"GET, HEAD, OPTIONS"),
    ({"DELETE", "PATCH", "PUT", "POST", "HEAD", "GET", "OPTIONS"}, b"GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"),
    ({"PROPFIND", "GET", "OPTIONS", "LOCK"}, b"GET, LOCK, PROPFIND, OPTIONS"),
    ({"QUERY", "TRACE", "PUT"}, b"PUT, QUERY, TRACE"),
]


@pytest.mark.parametrize(("methods", "value"), ALLOWS)
def test_allow_has_one_order(methods: set[str], value: bytes) -> None:
    """Allow reads the same wherever it was made: the common methods first, the others by name, OPTIONS last."""
    assert allow_value(methods) == value
    assert allow_value(frozenset(methods)) == value


@given(st.sets(st.sampled_from(sorted(REGISTERED)) | st.text("ABCXYZ-", min_size=1)))
def test_allow_loses_nothing(methods: set[str]) -> None:
    """Every method of the set is listed exactly once."""
    listed = [name for name in allow_value(methods).decode().split(", ") if name]
    assert sorted(listed) == sorted(methods)
