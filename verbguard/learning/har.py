"""HAR 1.2, as browsers, proxies, load testers and mitmproxy write it: exchanges, or an error that names the entry.

The format is that of http://www.softwareishard.com/blog/har-12-spec/. What a tool leaves out is taken for nothing; what
stands there and cannot be meant is an error.
"""

from __future__ import annotations

import base64
import binascii
import gzip
import json
import zlib
from collections import Counter
from collections.abc import Iterator
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

from verbguard.errors import ConfigError
from verbguard.http import Headers
from verbguard.learning.exchanges import Exchanged

__all__ = ["Entry", "entries", "exchanges", "origins"]

Entry = tuple[int, dict[str, Any]]  # its number, counted from 1, and what it says

_GZIP = b"\x1f\x8b"


def entries(data: bytes, name: str) -> list[Entry]:
    """The entries of a HAR file, gzipped or not. Raises ConfigError for what is none; `name` is how errors call it."""
    if data[:2] == _GZIP:
        try:
            data = gzip.decompress(data)
        except (OSError, EOFError, zlib.error) as error:
            raise ConfigError(f"{name}: it cannot be unzipped: {error}") from None
    try:
        document = json.loads(data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise ConfigError(f"{name}: a HAR file is UTF-8: {error}") from None
    except json.JSONDecodeError as error:
        raise ConfigError(f"{name}: line {error.lineno}, column {error.colno}: {error.msg}") from None
    except RecursionError:
        raise ConfigError(f"{name}: it is nested too deeply to be read") from None
    except ValueError as error:  # a number with more digits than Python reads
        raise ConfigError(f"{name}: it cannot be read: {error}") from None
    log = document.get("log") if isinstance(document, dict) else None
    found = log.get("entries") if isinstance(log, dict) else None
    if not isinstance(found, list):
        raise ConfigError(f"{name}: a HAR file is an object with log.entries, a list")
    for number, entry in enumerate(found, 1):
        if not isinstance(entry, dict):
            raise ConfigError(f"{name}: entry {number} = {_shown(entry)}: an object")
    return list(enumerate(found, 1))


def origins(found: list[Entry], name: str) -> Counter[str]:
    """scheme://host of every entry that has one -> how many: a browser records more than one service."""
    counts: Counter[str] = Counter()
    for number, entry in found:
        url = _url(entry, f"{name}: entry {number}")
        if url.scheme in ("http", "https"):
            counts[_origin(url)] += 1
    return counts


def exchanges(found: list[Entry], name: str, origin: str | None = None) -> Iterator[Exchanged]:
    """The exchanges with one origin, or all of them. Raises ConfigError, naming the entry and what is wrong with it.

    An entry without an answer (a request that was blocked or cut off has the status 0) has the status 0 here, too.
    """
    for number, entry in found:
        where = f"{name}: entry {number}"
        url = _url(entry, where)
        if url.scheme in ("http", "https") and origin in (None, _origin(url)):
            yield _exchange(entry, url, where)


def _exchange(entry: dict[str, Any], url: SplitResult, where: str) -> Exchanged:
    request, response = _object(entry, "request", where), _object(entry, "response", where)
    method = request.get("method")
    if not isinstance(method, str) or not method:
        raise ConfigError(f'{where}: request.method = {_shown(method)}: a method, such as "GET"')
    status = response.get("status", 0)
    if not isinstance(status, int) or isinstance(status, bool):
        raise ConfigError(f"{where}: response.status = {_shown(status)}: a status code, such as 200")
    headers = _fields(request, "request", where)
    if not any(field == b"host" for field, _ in headers):
        headers.append((b"host", url.netloc.rpartition("@")[2].encode("latin-1", "replace")))
    return Exchanged(
        method=method,
        path=unquote(url.path, errors="replace") or "/",
        status=status,
        query=url.query.encode("utf-8", "replace"),
        headers=headers,
        content=_content(request.get("postData"), f"{where}: request.postData", b""),
        answered=_fields(response, "response", where),
        body=_content(response.get("content"), f"{where}: response.content", None),
    )


def _url(entry: dict[str, Any], where: str) -> SplitResult:
    text = _object(entry, "request", where).get("url")
    if not isinstance(text, str):
        raise ConfigError(f"{where}: request.url = {_shown(text)}: a whole URL")
    try:
        parts = urlsplit(text)
        _ = parts.port
    except ValueError:  # whose message may hold a password
        raise ConfigError(f"{where}: request.url: it is no URL, with a host and a port that is a number") from None
    if not parts.scheme:
        raise ConfigError(f"{where}: request.url: a whole URL, with its scheme and host")
    return parts


def _origin(url: SplitResult) -> str:
    host = (url.hostname or "").lower()
    port = "" if url.port in (None, {"http": 80, "https": 443}[url.scheme]) else f":{url.port}"
    return f"{url.scheme}://{f'[{host}]' if ':' in host else host}{port}"


def _fields(message: dict[str, Any], name: str, where: str) -> Headers:
    """The field lines; HTTP/2's pseudo fields are what they stand for, or nothing."""
    listed = message.get("headers") or []
    if not isinstance(listed, list):
        raise ConfigError(f"{where}: {name}.headers = {_shown(listed)}: a list")
    found: Headers = []
    for each in listed:
        field, value = (each.get("name"), each.get("value", "")) if isinstance(each, dict) else (None, None)
        if not isinstance(field, str) or not isinstance(value, str):
            raise ConfigError(f"{where}: {name}.headers: {_shown(each)} is no object with the texts name and value")
        field = "host" if field == ":authority" else field.lower()
        if not field.startswith(":"):
            found.append((field.encode("latin-1", "replace"), value.encode("latin-1", "replace")))
    return found


def _content(message: Any, where: str, nothing: bytes | None) -> bytes | None:
    """The content of a message; None where it was not recorded."""
    if message is None:
        return nothing
    if not isinstance(message, dict):
        raise ConfigError(f"{where} = {_shown(message)}: an object")
    text = message.get("text")
    if text is None:
        return None if message.get("params") or nothing is None else nothing
    if not isinstance(text, str):
        raise ConfigError(f"{where}.text = {_shown(text)}: a text")
    if message.get("encoding") != "base64":
        return text.encode("utf-8", "surrogatepass")
    try:
        return base64.b64decode(text)
    except (binascii.Error, ValueError) as error:
        raise ConfigError(f"{where}.text: it is not base64: {error}") from None


def _object(entry: dict[str, Any], name: str, where: str) -> dict[str, Any]:
    found = entry.get(name)
    if not isinstance(found, dict):
        raise ConfigError(f"{where}: {name} = {_shown(found)}: an object")
    return found


def _shown(value: Any) -> str:
    """A value, for an error; of a text, a list or an object only that it is one, as it could hold what nobody should read."""
    for kind, name in ((str, "a text"), (list, "a list"), (dict, "an object")):
        if value and isinstance(value, kind):
            return name
    return json.dumps(value)[:40]
