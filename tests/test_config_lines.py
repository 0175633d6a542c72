"""A mistake in verbguard.toml names its line; the table of the gateway is judged before anything listens."""

from __future__ import annotations

import pytest

from verbguard import ConfigError
from verbguard.config import loads
from verbguard.gateway.table import GatewayTable
from verbguard.lines import line_of

LINES = [
    # mistake                              text                                                            begins with
    ("a field of the file", "\nprofile = 'guard'\nstor = 'memory://'", "shop.toml:3: there is no field 'stor'"),
    ("a table of the file", "# words\n[policy.'/a']\nkind = 'item'", "shop.toml:2: there is no field 'policy'"),
    ("a value of the file", "\nprofile = 'gard'", "shop.toml:2: profile = 'gard'"),
    ("a field of a policy", "[policies.'/b']\nkind = 'item'\n[policies.'/a']\n\nknd = 'item'", "shop.toml:5: policies.'/a'"),
    ("a value of a policy", "[policies.\"/a\"]\nput = 'allow'\nkind = 'itm'", "shop.toml:3: policies.'/a': kind"),
    ("a path in double quotes", "[policies]\n[policies.\"/a'b\"]\n  kind = 'itm'", 'shop.toml:3: policies."/a\'b": kind'),
    ("a dotted key", "policies.'/a'.kind = 'itm'", "shop.toml:1: policies.'/a': kind"),
    ("an inline table", "[policies.'/a']\nkind = 'item'\nreplay = {windw = 1}", "shop.toml:3: policies.'/a'.replay"),
    ("a table below", "[policies.'/a']\n[policies.'/a'.replay]\nwindow = 5\nkeep = 'x'", "shop.toml:4: policies.'/a'.replay"),
    ("a method in a table", "[policies.'/a'.statuses]\nGET = [200]\nPTU = [200]", "shop.toml:3: policies.'/a': statuses.PTU"),
    ("a rule", "[policies.'/a']\n[policies.'/a'.rules]\nput-no-collection = 'of'", "shop.toml:3: policies.'/a': rules."),
    (
        "a rule that is none",
        "\n[policies.'/a']\nrules = { put = 'off' }",
        "shop.toml:3: policies.'/a': rules.put: there is no such rule",
    ),
    (
        "a rule of the default",
        "\n[default.rules]\nput = 'off'",
        "shop.toml:3: default: rules.put: there is no such rule: none of the",
    ),
    (
        "a method before a path",
        "\n[policies.'PTU /a']\nkind = 'item'",
        "shop.toml:2: policies.'PTU /a': there is no method 'PTU'",
    ),
    (
        "a method in small letters",
        "\n[policies.'put /a']",
        "shop.toml:2: policies.'put /a': there is no method 'put': did you mean 'PUT'?",
    ),
    ("no path", "\n[policies.'a']\nkind = 'item'", "shop.toml:2: policies.'a': a template starts with a slash"),
    (
        "a space before a path",
        "\n[policies.' /a']\nkind = 'item'",
        "shop.toml:2: policies.' /a': a template starts with a slash",
    ),
    ("half a parameter", "\n[policies.'/a/{id']\nkind = 'item'", "shop.toml:2: policies.'/a/{id': '{' stands alone"),
    ("a field without a name", "\n[default]\n'' = 1", "shop.toml:3: default: there is no field ''"),
    ("a long number", "x = " + "1" * 5_000, "shop.toml: it cannot be read: "),
    ("many brackets", "x = " + "[" * 50_000, "shop.toml: it is nested too deeply"),
    ("the default", "[default]\nkind = 'item'\nlocaton = '/a'", "shop.toml:3: default: there is no field"),
    ("the store", "[store]\nurl = 'memory://'\n\nkeys = '00'", "shop.toml:4: store.keys"),
    ("a field of the store", "[store]\nulr = 'memory://'", "shop.toml:2: store: there is no field 'ulr'"),
    ("what the store lacks", "profile = 'guard'\n[store]\ncreate = false", "shop.toml:2: store: url is missing"),
    (
        "the gateway",
        "[gateway]\nupstrem = 'http://a'",
        "shop.toml:2: gateway: there is no field 'upstrem': did you mean 'upstream'?",
    ),
    ("no table of a gateway", "profile = 'guard'\ngateway = 'http://a'", "shop.toml:2: gateway = 'http://a': a table"),
    ("a text over lines", "x = 1\n[default]\nkind = '''\nlocaton = 1\n'''", "shop.toml:1: there is no field 'x'"),
    (
        "no TOML",
        "profile = 'guard'\n[store\n",
        "shop.toml: Expected ']' at the end of a table declaration (at line 2, column 7)",
    ),
]


@pytest.mark.parametrize(("text", "begins"), [row[1:] for row in LINES], ids=[row[0] for row in LINES])
def test_a_mistake_names_its_line(text: str, begins: str) -> None:
    """File, line, place, field: what an editor jumps to."""
    with pytest.raises(ConfigError) as raised:
        loads(text, "shop.toml")
    assert str(raised.value).startswith(begins), str(raised.value)


FOUND = [
    # text                                          path                 line
    ("a = 1\nb = 2", ["b"], 2),
    ("a.b.c = 1", ["a", "b"], 1),
    ("[a]\n[a.'b c']\nd = 1", ["a", "b c", "d"], 3),
    ("[a]\nb = {c = 1}", ["a", "b", "c"], 2),
    ('[ a . "b" ] # words\nc=1', ["a", "b", "c"], 2),
    ("[[a]]\nb = 1\n[[a]]\nb = 2", ["a", "b"], 2),
    ("a = 1", ["b"], None),
    ("", ["b"], None),
    ("[a.b]\nc = 1", ["a"], 1),
]


@pytest.mark.parametrize(("text", "path", "line"), FOUND)
def test_where_a_key_stands(text: str, path: list[str], line: int | None) -> None:
    """The key's own line, else that of the nearest table around it, else none."""
    assert line_of(text, path) == line


WRONG = [
    # field                value                                     what the message says
    ("upstream", "http://h:9000/api", ["without a path", "write 'http://h:9000'"]),
    ("upstream", "http://h?x=1", ["without a path"]),
    ("upstream", "http://h#x", ["write 'http://h'"]),
    ("upstream", "http://user:secret@h", ["user"]),
    ("upstream", "127.0.0.1:9000", ["http://", "https://"]),
    ("upstream", "localhost:9000", ["http://", "https://"]),
    ("upstream", "ftp://h", ["http://", "ftp"]),
    ("upstream", "http://", ["a host"]),
    ("upstream", "http:///x", ["a host"]),
    ("upstream", "http:h", ["a host"]),
    ("upstream", "http://h:99999", ["Port", "http://127.0.0.1:9000"]),
    ("upstream", "http://h:x", ["ort", "http://127.0.0.1:9000"]),
    ("upstream", "http://[::1", ["IPv6", "http://127.0.0.1:9000"]),
    ("upstream", "http://h\n", ["printable"]),
    ("upstream", "http://bücher", ["ASCII"]),
    ("upstream", "", ["an origin such as"]),
    ("upstream", 9000, ["9000", "an origin such as"]),
    ("public", "api.example.com", ["https://api.example.com"]),
    ("public", "https://api.example.com/v1", ["without a path"]),
    ("connect_timeout", 0, ["connect_timeout", "seconds"]),
    ("timeout", "60", ["timeout", "seconds"]),
    ("late", float("inf"), ["late", "seconds"]),
    ("late", True, ["late", "seconds"]),
    ("host", "upsteam", ["host", "or 'upstream'"]),
    ("host", 7, ["host", "public"]),
    ("trust_forwarded", "yes", ["trust_forwarded", "True or False"]),
    ("connections", 0, ["connections", "at least one"]),
    ("connections", 1.5, ["connections"]),
]


@pytest.mark.parametrize(("field", "value", "words"), WRONG)
def test_mistakes_of_a_gateway(field: str, value: object, words: list[str]) -> None:
    """What cannot be meant is told with its reason and with what to write; a password is never shown."""
    with pytest.raises(ConfigError) as raised:
        GatewayTable(**{field: value})  # type: ignore[arg-type]
    message = str(raised.value)
    assert [word for word in words if word not in message] == [] and "secret" not in message, message


RIGHT = [
    ("http://127.0.0.1:9000", "http://127.0.0.1:9000"),
    ("http://h/", "http://h"),
    ("HTTPS://H.example", "https://h.example"),
    ("http://[::1]:80", "http://[::1]:80"),
]


@pytest.mark.parametrize(("value", "upstream"), RIGHT)
def test_an_origin_is_kept_as_a_url_begins(value: str, upstream: str) -> None:
    """Scheme and host without case, the port as it was given, no slash."""
    assert GatewayTable(upstream=value).upstream == upstream


def test_the_table_of_a_file() -> None:
    """A file says the arguments of a gateway; what it leaves out has its default."""
    text = "[gateway]\nupstream = 'http://h'\npublic = 'https://p'\ntimeout = 5\nhost = 'upstream'\nconnections = 7"
    table = loads(text).gateway
    assert table == GatewayTable(upstream="http://h", public="https://p", timeout=5, host="upstream", connections=7)
    assert table is not None and table.arguments() == {
        "public": "https://p",
        "connect_timeout": 5.0,
        "timeout": 5.0,
        "late": 30.0,
        "host": "upstream",
        "trust_forwarded": False,
        "connections": 7,
    }
    assert loads("").gateway is None
