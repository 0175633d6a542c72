"""Which keys are keys, which fields a replay has, and which bodies are the same."""

from __future__ import annotations

from typing import Any

import pytest

from blackbox.replays import conflict, once_more
from blackbox.shop import OLD_DATE
from blackbox.shops import Shop

# -- (k) fields -------------------------------------------------------------------------------------------------------


def test_fields_of_the_first_answer_and_of_its_replay(shop: Shop) -> None:
    """The first answer keeps every pair; the replay keeps both Links and drops what belongs to that one moment."""
    first, second = (shop.send("POST", "/fields", key="k") for _ in range(2))
    assert [value.split(";")[0] for value in first.values("set-cookie")] == ["a=1", "b=2"]
    assert first.values("link") == ["</items?page=2>; rel=next", "</items?page=9>; rel=last"]
    assert first.value("date") == OLD_DATE
    assert second.replayed
    assert second.values("link") == first.values("link")
    for gone in ("set-cookie", "age", "retry-after"):
        assert second.values(gone) == []
    assert OLD_DATE not in second.values("date")


# -- (o) odd keys -----------------------------------------------------------------------------------------------------

ODD_KEYS = [  # what           keys                                   rule
    ("empty", [""], None),
    ("empty string", ['""'], None),
    ("ten kilobytes", ["k" * 10_240], "idem-key-format"),
    ("256 bytes", ["k" * 256], "idem-key-format"),
    ("control character", ["a\x07b"], None),
    ("not ASCII", ["schl\xfcssel"], None),
    ("two fields", ["one", "two"], "idem-key-single"),
    ("two fields, equal", ["one", "one"], "idem-key-single"),
    ("a list", ['"one", "two"'], "idem-key-single"),
    ("unterminated", ['"one'], None),
]


@pytest.mark.parametrize(("what", "keys", "rule"), ODD_KEYS, ids=[row[0] for row in ODD_KEYS])
@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_a_key_that_is_none_is_refused(shop: Shop, method: str, what: str, keys: list[str], rule: str | None) -> None:
    """A client that tries to protect its request and fails hears so; running unprotected would be the worst answer."""
    target = "/items" if method == "POST" else "/items/1"
    answer = shop.send(method, target, headers=[("Idempotency-Key", key) for key in keys], body="{}")
    assert answer.status == 400
    assert answer.rule == rule if rule else (answer.rule or "").startswith("idem-key-")
    assert shop.runs == {}


@pytest.mark.parametrize(("one", "two"), [("k", '"k"'), ('"k"', "k")])
def test_quoted_and_bare_are_one_key(shop: Shop, one: str, two: str) -> None:
    """The draft's String and the bare token that most clients send are two spellings of one key."""
    first = shop.send("POST", "/items", key=one, body="{}")
    once_more(first, shop.send("POST", "/items", key=two, body="{}"))
    assert shop.runs == {"create": 1}


def test_the_longest_key_is_a_key(shop: Shop) -> None:
    """255 bytes are allowed."""
    first, second = (shop.send("POST", "/items", key="k" * 255, body="{}") for _ in range(2))
    once_more(first, second)


def test_a_key_on_a_safe_method_is_ignored(shop: Shop) -> None:
    """Nothing is recorded for GET: two of them run twice and say nothing of replays."""
    answers = [shop.send("GET", "/items", key="k") for _ in range(2)]
    assert [answer.json()["number"] for answer in answers] == [1, 2]
    assert [answer.replayed for answer in answers] == [False, False]


def test_a_missing_key_where_one_is_required(shop: Shop) -> None:
    """A route that promises exactly-once answers 400 before the handler runs; with a key it works."""
    conflict(shop.send("POST", "/payments", body="{}"), "idem-key-missing-400", 400)
    assert shop.runs == {}
    assert shop.send("POST", "/payments", body="{}", key="k").status == 201


# -- (q) bodies -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("body", [b"\x00\xff\xfe" * 100, bytes(range(256)), b"\x80", b"\r\n\r\n"])
def test_binary_bodies_pass_both_ways(shop: Shop, body: bytes) -> None:
    """Bytes are bytes: no text codec stands between a request, its record and its replay."""
    headers = [("Content-Type", "application/octet-stream")]
    first, second = (shop.send("POST", "/mirror", key="k", body=body, headers=headers) for _ in range(2))
    assert first.body == body
    once_more(first, second)
    conflict(shop.send("POST", "/mirror", key="k", body=body + b"\x00", headers=headers), "idem-key-reuse-422", 422)


def multipart(boundary: str, content: str = "\x00\x01file", name: str = "ink") -> dict[str, Any]:
    lines = [
        f"--{boundary}",
        'Content-Disposition: form-data; name="name"',
        "",
        name,
        f"--{boundary}",
        'Content-Disposition: form-data; name="file"; filename="a.bin"',
        "Content-Type: application/octet-stream",
        "",
        content,
        f"--{boundary}--",
        "",
    ]
    headers = [("Content-Type", f"multipart/form-data; boundary={boundary}")]
    return {"body": "\r\n".join(lines).encode(), "headers": headers}


def test_the_same_form_under_another_boundary_is_the_same_request(shop: Shop) -> None:
    """HTTP libraries invent a boundary for every attempt; the parts are what the client meant."""
    first = shop.send("POST", "/form", key="k", **multipart("first"))
    assert first.json() == {"number": 1, "parts": {"name": "ink", "file": "\x00\x01file"}}
    once_more(first, shop.send("POST", "/form", key="k", **multipart("second")))
    for other in (multipart("third", content="else"), multipart("third", name="pen")):
        conflict(shop.send("POST", "/form", key="k", **other), "idem-key-reuse-422", 422)
    assert shop.runs == {"form": 1}
