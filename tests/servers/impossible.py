"""Where a server makes a case of the matrix impossible: its parser answers first, or it has framing of its own."""

from __future__ import annotations

from dataclasses import dataclass

from servers.matrix import CASES, CREATED, PUT_REFUSED, Expected


@dataclass(frozen=True, slots=True)
class Impossible(Expected):
    """Why a server cannot let the guard do what a case expects, and what happens there instead."""

    reason: str
    guard: str
    strict: str | None = None  # None: the same


WITHOUT_LENGTH = {
    "204 with content",
    "204 with content, to PUT",
    "204 with content of undeclared length",
    "205 with content, to PUT",
    "304 with content, asked for",
    "304 with content of undeclared length",
    "304 to PUT",
    "304 fields",
    "200 without content, to DELETE",
    "201 without content, to GET",
    "201 with content, to GET",
    "OPTIONS",
    "OPTIONS *",
    "streamed GET",
    "streamed POST with a key",
}

PARSER = "the parser answers, and the application is never asked"
HOP_BY_HOP = "PEP 3333 forbids an application to say Connection; the server ends it by itself when the content is not read"
INVITES = "the server sends 100 before the application is asked"
READS_FIRST = "the whole request is taken in before the application is asked: nothing is left unread, the connection goes on"
NO_LENGTH = "waitress closes after every answer without Content-Length, also where no length is allowed"

IMPOSSIBLE: dict[tuple[str, str], Impossible] = {
    ("uvicorn-httptools", "FOO"): Impossible(PARSER, "400 of the server close; end"),
    ("uvicorn-httptools", "get"): Impossible(PARSER, "400 of the server close; end"),
    ("uvicorn-httptools", "CONNECT"): Impossible(PARSER, "400 of the server close; end"),
    ("gunicorn", "get"): Impossible(PARSER, "400 of the server close; end"),
    ("gunicorn", "GET *"): Impossible(PARSER, "400 of the server close; end"),
    ("waitress", "get"): Impossible(PARSER, "400 of the server close; end"),
    ("hypercorn", "get"): Impossible("the method is upper-cased before the application is asked", "200; next 200"),
    ("gunicorn", "CONNECT"): Impossible("gunicorn closes after CONNECT", "501 connect-off close; end"),
    ("hypercorn", "Expect, refused"): Impossible(INVITES, f"100, {PUT_REFUSED} close; end; ran 0"),
    ("gunicorn", "Expect, refused"): Impossible(f"{INVITES}; {HOP_BY_HOP}", f"100, {PUT_REFUSED}; given up, end; ran 0"),
    ("granian-wsgi", "Expect, refused"): Impossible(HOP_BY_HOP, f"{PUT_REFUSED}; given up, end; ran 0"),
    ("waitress", "Expect, refused"): Impossible(f"{INVITES}; {READS_FIRST}", f"100, {PUT_REFUSED}; next 200; ran 0"),
    ("waitress", "content full of requests, PUT refused"): Impossible(READS_FIRST, f"{PUT_REFUSED}; next 200; ran 0"),
    ("waitress", "304 with content, not asked for"): Impossible(
        NO_LENGTH, "304 close; end", strict="500 status-304-needs-precondition; next 200"
    ),
    ("waitress", "content of undeclared length after HEAD"): Impossible(
        "waitress ends a chunked coding that HEAD never began, then closes", "200 close; then b'0\\r\\n\\r\\n'"
    ),
}
SERVER_SAYS = "400 of the server close; end"
PATH_ONLY = "the server hands on the path, and nothing of the authority"
for server in ("uvicorn-h11", "hypercorn", "gunicorn"):
    IMPOSSIBLE[server, "two Host lines"] = Impossible(PARSER, f"{SERVER_SAYS}; ran 0")
for server in ("uvicorn-h11", "hypercorn"):
    IMPOSSIBLE[server, "no Host"] = Impossible(PARSER, f"{SERVER_SAYS}; ran 0")
for server in ("uvicorn-httptools", "gunicorn"):
    IMPOSSIBLE[server, "GET api.example:443"] = Impossible(PARSER, SERVER_SAYS)
    IMPOSSIBLE[server, "Content-Length beside Transfer-Encoding"] = Impossible(PARSER, f"{SERVER_SAYS}; ran 0")
for server in ("uvicorn-httptools", "granian", "gunicorn", "waitress", "granian-wsgi"):
    IMPOSSIBLE[server, "POST http://other/items"] = Impossible(PATH_ONLY, CREATED)
for server in ("granian", "waitress", "granian-wsgi"):
    IMPOSSIBLE[server, "GET api.example:443"] = Impossible("the server makes a path of it", "404 of the app; next 200")
for server in ("granian", "granian-wsgi"):
    IMPOSSIBLE[server, "Content-Length beside Transfer-Encoding"] = Impossible(
        "granian takes Content-Length away, and closes", "201 Location close; end; ran 1"
    )
IMPOSSIBLE["waitress", "Content-Length beside Transfer-Encoding"] = Impossible(
    "waitress decodes the chunks and says their length", CREATED
)
IMPOSSIBLE["uvicorn-httptools", "CONNECT with content"] = Impossible(PARSER, SERVER_SAYS)
IMPOSSIBLE["gunicorn", "CONNECT with content"] = Impossible(
    "gunicorn closes after CONNECT", "400 connect-no-content close; end"
)
IMPOSSIBLE["gunicorn", "Expect: foo"] = Impossible(PARSER, "417 of the server close; end; ran 0")
IMPOSSIBLE["gunicorn", "103 to HTTP/1.1"] = Impossible(
    "the one server that lets an application send 103, through the guard too", "103, 200; next 200"
)
for name in ("content announced, PUT refused", "content chunked, PUT refused"):
    for server in ("gunicorn", "granian-wsgi"):
        IMPOSSIBLE[server, name] = Impossible(HOP_BY_HOP, f"{PUT_REFUSED}; given up, end; ran 0")
    IMPOSSIBLE["waitress", name] = Impossible(READS_FIRST, f"{PUT_REFUSED}; next 200; ran 0")
for case in CASES:
    if case.guard.endswith("; next 200") and case.name in WITHOUT_LENGTH:
        IMPOSSIBLE["waitress", case.name] = Impossible(NO_LENGTH, case.guard.replace("; next 200", " close; end"))
