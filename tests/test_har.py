"""HAR files: what tools write is read, and what is malformed is told with the number of its entry."""

from __future__ import annotations

import base64
import gzip
import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from verbguard import ConfigError
from verbguard.learning import Exchanged
from verbguard.learning.har import entries, exchanges, origins

URL = "https://shop.example/orders/7?token=x#top"


def entry(**fields: Any) -> dict[str, Any]:
    """An entry as Firefox writes it; a name with a double underscore reaches into request or response."""
    found: dict[str, Any] = {
        "startedDateTime": "2026-11-29T10:00:00.000Z",
        "request": {
            "method": "PUT", "url": URL, "httpVersion": "HTTP/2", "cookies": [], "queryString": [], "bodySize": 2,
            "headers": [{"name": ":authority", "value": "shop.example"}, {"name": ":method", "value": "PUT"},
                        {"name": "Content-Type", "value": "application/json"}],
            "postData": {"mimeType": "application/json", "text": "{}"},
        },
        "response": {
            "status": 201, "statusText": "", "httpVersion": "HTTP/2", "cookies": [], "redirectURL": "/orders/7",
            "headers": [{"name": "Location", "value": "/orders/7"}],
            "content": {"size": 9, "mimeType": "application/json", "text": '{"id": 7}'},
        },
        "cache": {}, "timings": {},
    }  # fmt: skip
    for name, value in fields.items():
        owner, _, member = name.rpartition("__")
        place = found[owner] if owner else found
        if value is ...:
            del place[member]
        else:
            place[member] = value
    return found


def har(*found: Any) -> bytes:
    return json.dumps({"log": {"version": "1.2", "creator": {}, "entries": list(found)}}).encode()


def read(*found: Any, origin: str | None = None) -> list[Exchanged]:
    return list(exchanges(entries(har(*found), "shop.har"), "shop.har", origin))


WHOLE = Exchanged(
    method="PUT", path="/orders/7", status=201, query=b"token=x",
    headers=[(b"host", b"shop.example"), (b"content-type", b"application/json")],
    content=b"{}", answered=[(b"location", b"/orders/7")], body=b'{"id": 7}',
)  # fmt: skip


@pytest.mark.parametrize("data", [har(entry()), gzip.compress(har(entry())), b"\xef\xbb\xbf" + har(entry())])
def test_an_entry_is_an_exchange(data: bytes) -> None:
    """Plain, gzipped, or with the mark that Windows programs write first."""
    assert list(exchanges(entries(data, "shop.har"), "shop.har")) == [WHOLE]


ODD = [  # what tools leave out or write in their own way -> a field of the exchange
    ({"request__headers": ...}, "headers", [(b"host", b"shop.example")]),
    ({"request__headers": [], "request__url": "http://me:secret@shop.example:81/"}, "headers", [(b"host", b"shop.example:81")]),
    ({"request__headers": [{"name": "HOST", "value": "h"}]}, "headers", [(b"host", b"h")]),
    ({"request__url": "https://shop.example"}, "path", "/"),
    ({"request__url": "https://shop.example/a%20b/%C3%A9"}, "path", "/a b/\u00e9"),
    ({"request__url": "https://shop.example/%ff"}, "path", "/\ufffd"),
    ({"request__postData": ...}, "content", b""),
    ({"request__postData": None}, "content", b""),
    ({"request__postData": {"mimeType": "x"}}, "content", b""),
    ({"request__postData": {"mimeType": "x", "params": [{"name": "a"}]}}, "content", None),
    ({"request__postData": {"text": "e30=", "encoding": "base64"}}, "content", b"{}"),
    ({"response__content": ...}, "body", None),
    ({"response__content": {"size": 0}}, "body", None),
    ({"response__content": {"text": base64.b64encode(b"\0\xff").decode(), "encoding": "base64"}}, "body", b"\0\xff"),
    ({"response__headers": None}, "answered", []),
    ({"request__headers": {}}, "headers", [(b"host", b"shop.example")]),
    ({"response__status": 0}, "status", 0),
    ({"response__status": ...}, "status", 0),
    ({"time": -1}, "method", "PUT"),
]


@pytest.mark.parametrize(("fields", "name", "value"), ODD)
def test_what_tools_leave_out_is_nothing(fields: dict[str, Any], name: str, value: Any) -> None:
    """Browsers drop contents, k6 and proxies whole members; none of that is an error."""
    (exchange,) = read(entry(**fields))
    assert getattr(exchange, name) == value


def test_other_schemes_and_origins_are_left_out() -> None:
    """A browser records more than one service, and what is no request to any."""
    found = [
        *(entry(request__url=url) for url in ("data:text/plain,x", "wss://shop.example/ws", "blob:https://x/1", "HTTPS://Shop.Example:443/a")),
        entry(), entry(request__url="https://cdn.example/x"), entry(request__url="http://[::1]:8080/x"),
    ]  # fmt: skip
    listed = entries(har(*found), "shop.har")
    assert origins(listed, "shop.har") == {"https://shop.example": 2, "https://cdn.example": 1, "http://[::1]:8080": 1}
    assert [each.path for each in read(*found, origin="https://shop.example")] == ["/a", "/orders/7"]
    assert [each.path for each in read(*found)] == ["/a", "/orders/7", "/x", "/x"]


WRONG = [  # what is read, what is said
    (b"", "shop.har: line 1, column 1"),
    (b"{", "shop.har: line 1, column 2"),
    (b"\xff\xfe", "shop.har: a HAR file is UTF-8"),
    (b"\x1f\x8bnot gzip", "shop.har: it cannot be unzipped"),
    (gzip.compress(har())[:-9], "shop.har: it cannot be unzipped"),
    (b"[" * 100_000, "shop.har: it is nested too deeply"),
    (b"[]", "shop.har: a HAR file is an object with log.entries"),
    (b'{"log": {}}', "a HAR file is an object with log.entries"),
    (b'{"log": {"entries": {}}}', "a HAR file is an object with log.entries"),
    (har(entry(), 5), "shop.har: entry 2 = 5: an object"),
    (har(entry(), {}), "shop.har: entry 2: request = null: an object"),
    (har(entry(request=[])), "entry 1: request = []: an object"),
    (har(entry(response=...)), "entry 1: response = null: an object"),
    (har(entry(request__url=...)), "entry 1: request.url = null: a whole URL"),
    (har(entry(request__url="/secret?secret")), "entry 1: request.url: a whole URL, with its scheme"),
    (har(entry(request__url="http://ann:secret/")), "entry 1: request.url: "),
    (har(entry(request__url="http://ann:secret@ho\u2100st/")), "entry 1: request.url: "),
    (b'{"log": ' + b"1" * 5_000 + b"}", "shop.har: it cannot be read"),
    (har(entry(request__url="http://h:port/")), "entry 1: request.url: "),
    (har(entry(request__url="http://[::1/")), "entry 1: request.url: "),
    (har(entry(request__method=5)), "entry 1: request.method = 5: a method"),
    (har(entry(request__method="")), 'entry 1: request.method = "": a method'),
    (har(entry(response__status="200")), 'entry 1: response.status = a text: a status code'),
    (har(entry(response__status=True)), "entry 1: response.status = true"),
    (har(entry(request__headers={"a": 1})), 'entry 1: request.headers = an object: a list'),
    (har(entry(response__headers=["a"])), 'entry 1: response.headers: a text is no object'),
    (har(entry(response__headers=[{"name": 1, "value": ""}])), "entry 1: response.headers: "),
    (har(entry(request__headers=[{"name": "authorization", "value": ["secret"]}])), "entry 1: request.headers: an object"),
    (har(entry(request__postData="secret")), "entry 1: request.postData = a text: an object"),
    (har(entry(request__postData={"text": ["secret"]})), "entry 1: request.postData.text = a list: a text"),
    (har(entry(request__postData=[])), "entry 1: request.postData = []: an object"),
    (har(entry(request__postData={"text": 5})), "entry 1: request.postData.text = 5: a text"),
    (har(entry(response__content={"text": "e", "encoding": "base64"})), "entry 1: response.content.text: it is not base64"),
]  # fmt: skip


@pytest.mark.parametrize(("data", "said"), WRONG, ids=range(len(WRONG)))
def test_a_malformed_file_names_the_entry(data: bytes, said: str) -> None:
    """ConfigError says which entry, which member of it, and what is wanted; never what a header or a query held."""
    with pytest.raises(ConfigError) as caught:
        list(exchanges(entries(data, "shop.har"), "shop.har"))
    assert said in str(caught.value)
    assert "secret" not in str(caught.value)


MEMBERS = ["method", "url", "headers", "name", "value", "text", "encoding", "postData", "content", "status"]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.sampled_from(["", "GET", "http://h/a", "base64", "\u00fc", "\ud800"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(MEMBERS), inner, max_size=4),
    max_leaves=8,
)
PLACES = [*entry(), *(f"{owner}__{name}" for owner in ("request", "response") for name in entry()[owner])]


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow], max_examples=300)
@given(st.sampled_from(PLACES), JSON)
def test_any_member_is_read_or_told(name: str, value: Any) -> None:
    """Whatever stands in an entry, it gives an exchange or one kind of error."""
    try:
        for exchange in read(entry(**{name: value})):
            assert exchange.path.startswith("/")
    except ConfigError as error:
        assert str(error).startswith("shop.har: entry 1: ")
