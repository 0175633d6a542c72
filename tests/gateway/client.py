"""Requests as bytes: fields in the order, the number and the spelling given. `servers.wire` reads the answers."""

from __future__ import annotations

HOST = "Host: api.example"


def ask(line: str, *fields: str, content: bytes | None = None, host: str | None = HOST, version: str = "HTTP/1.1") -> bytes:
    """`ask("GET /x", "Cookie: a=1", "Cookie: b=2")`; text beyond ASCII is sent as Latin-1, one byte a character."""
    lines = [f"{line} {version}", *([host] if host else []), *fields]
    if content is not None and not any(field.lower().startswith(("content-length:", "transfer-encoding:")) for field in fields):
        lines.append(f"Content-Length: {len(content)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + (content or b"")


def chunked(*pieces: bytes, trailers: str = "") -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n" + trailers.encode() + b"\r\n"


def said(status: str, *fields: str, content: bytes | None = None) -> bytes:
    """An upstream's answer: `said("201 Created", "Location: /x", content=b"{}")`. Without content no length is said."""
    lines = [f"HTTP/1.1 {status}", *fields]
    if content is not None and not any(field.lower().startswith(("content-length:", "transfer-encoding:")) for field in fields):
        lines.append(f"Content-Length: {len(content)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + (content or b"")
