"""From the paths and servers of a document to the route templates that requests will match."""

from __future__ import annotations

import re
from itertools import product
from math import prod
from posixpath import normpath
from urllib.parse import unquote

from verbguard.openapi.documents import Node

__all__ = ["prefixes", "template"]

_MOST = 32  # prefixes of one document; more would be a variable with too many values to mean paths

_EXPRESSION = re.compile(r"\{([^{}]*)\}")
_NAME = re.compile(r"[^{}:/?#&,;+*]+")
_GREEDY = re.compile(r"\+?([^{}:/?#&,;+*]+)[+*]?")  # `{proxy+}` and `{+path}`: what vendors write for "the rest of the path"


def template(path: str) -> str | None:
    """The route template of a path in the document, None where no path of a request could be told by it.

    OpenAPI knows nothing but `{name}`; the spellings of a few vendors are read as well. A query in a path is none.
    """
    out, end = "", 0
    for match in _EXPRESSION.finditer(path):
        found = _parameter(match[1])
        if found is None:
            return None
        out += _literal(path[end : match.start()]) + found
        end = match.end()
    whole = out + _literal(path[end:])
    return None if _UNSAID in whole else whole


_UNSAID = "\0"  # stands for what no path can tell


def _literal(text: str) -> str:
    plain = unquote(text)
    # a space parts the method from the template in a policy's key, so that no policy can name such a path
    return _UNSAID if any(mark in text for mark in "?#{}") or any(mark in plain for mark in "\0 {}") else plain


def _parameter(inner: str) -> str | None:
    if inner[:1] in ("?", "&"):
        return ""  # RFC 6570's form of a query, which is no part of the path
    inner = "_".join(inner.split())  # a name with spaces is a name, but the key of no policy
    name = inner.partition(":")[0]
    if _NAME.fullmatch(name):
        return "{" + name + "}"
    greedy = _GREEDY.fullmatch(inner)
    return "{" + greedy[1] + ":path}" if greedy is not None else None


def prefixes(servers: Node | None) -> list[str]:
    """The paths of the servers, without a slash at the end; [""] where there is nothing before the document's own paths.

    A variable stands for its default and for each value of its `enum`. Raises ConfigError.
    """
    found: dict[str, None] = {}
    for server in [] if servers is None else servers.entries():
        server = server.table()
        url = server.get("url")
        if url is None or not isinstance(url.value, str):
            raise server.wrong("a server has a url, as a text")
        for spelled in _spellings(url, server.get("variables")):
            found[_path(spelled, url)] = None
    return list(found) or [""]


def _spellings(url: Node, variables: Node | None) -> list[str]:
    """The path of the url with its variables filled in, in every way that the document names."""
    path = _below_authority(url.value)
    names = list(dict.fromkeys(_EXPRESSION.findall(path)))
    choices = [_values(name, url, variables) for name in names]
    if prod(map(len, choices)) > _MOST:
        choices = [values[:1] for values in choices]  # the defaults alone
    spelled = [_substituted(path, dict(zip(names, values, strict=True))) for values in product(*choices)]
    return [_below_authority(each) for each in spelled]  # a variable may hold a scheme and a host


def _below_authority(url: str) -> str:
    """What of a URL is its path, and what follows that."""
    scheme, mark, rest = url.partition("//")
    return rest.partition("/")[2] if mark and scheme.partition("/")[1] == "" and scheme[-1:] in ("", ":") else url


def _substituted(url: str, chosen: dict[str, str]) -> str:
    return _EXPRESSION.sub(lambda match: chosen[match[1]], url)


def _values(name: str, url: Node, variables: Node | None) -> list[str]:
    variable = None if variables is None else variables.table().get(name)
    if variable is None:
        raise url.wrong(f"variables has no {name!r} for this url")
    variable = variable.table()
    default, others = variable.get("default"), variable.get("enum")
    if default is None:
        raise variable.wrong("a variable of a server has a default")
    values = [str(default.value), *(str(each.value) for each in (others.entries() if others is not None else ()))]
    return list(dict.fromkeys(values))


def _path(spelled: str, url: Node) -> str:
    """A path without a slash at its end; a relative one stands below the root, as nobody knows where the document is served."""
    plain = unquote(spelled.partition("?")[0].partition("#")[0]).strip("/")
    if " " in plain or "{" in plain or "}" in plain:
        raise url.wrong("a path with spaces or braces stands before all paths: name the server without it")
    return normpath("/" + plain).rstrip("/")
