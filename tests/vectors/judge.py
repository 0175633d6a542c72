"""What was heard, held against what was expected. Every function returns its complaints as sentences."""

from __future__ import annotations

import gzip

from vectors.conversation import Expect, Reply
from vectors.reference import Crash, Reference


def answer(expect: Expect, heard: Reply, first: Reply | None) -> list[str]:
    """Status, content and headers; `first` is the answer that this one must repeat."""
    said = []
    if expect.statuses and heard.status not in expect.statuses:
        said.append(f"expected status {' or '.join(map(str, expect.statuses))}, got {heard.status}")
    if expect.body is not None and heard.body != expect.body:
        said.append(f"expected content {expect.body!r}, got {heard.body!r}")
    if expect.mentions is not None and expect.mentions not in heard.body:
        said.append(f"expected content that mentions {expect.mentions!r}, got {heard.body!r}")
    if expect.identity is not None and (heard.header("content-encoding"), heard.body) != (None, expect.identity):
        said.append(f"expected the uncoded content {expect.identity!r}")
    if heard.raised is not None and not isinstance(heard.raised, Crash):
        said.append(f"expected no exception, got {heard.raised!r}")
    return [*said, *headers(expect, heard), *(differences(first, heard) if first else [])]


def headers(expect: Expect, heard: Reply) -> list[str]:
    said = []
    for name, wanted in expect.headers.items():
        value = heard.header(name)
        if not (wanted(value) if callable(wanted) else value == wanted):
            said.append(f"expected {name} {'absent' if wanted is None else wanted}, got {value}")
    marker = heard.header("idempotent-replayed")
    if marker != ("true" if expect.replayed else None):
        said.append(f"expected {'a' if expect.replayed else 'no'} replay, got Idempotent-Replayed: {marker}")
    return said


def differences(first: Reply, again: Reply) -> list[str]:
    """A replay is the first answer: status, content and every header that is not of the moment."""
    said = []
    if first.status != again.status:
        said.append(f"expected the status of the first answer, {first.status}, got {again.status}")
    if decoded(first) != decoded(again):
        said.append(f"expected the content of the first answer, {first.body!r}, got {again.body!r}")
    if first.lasting() != again.lasting():
        said.append(f"expected the headers of the first answer, {first.lasting()}, got {again.lasting()}")
    return said


def decoded(reply: Reply) -> bytes:
    return gzip.decompress(reply.body) if reply.header("content-encoding") == "gzip" else reply.body


def rules(expect: Expect, heard: Reply, spoke: set[str]) -> list[str]:
    """The rule that made the answer, and the rules that spoke about it."""
    said = [] if expect.rule is None else problem(expect.rule, heard)
    if expect.finds == () and spoke:
        said.append(f"expected no finding, got {sorted(spoke)}")
    for wanted in expect.finds or ():
        if not spoke & set(wanted.split("|")):
            said.append(f"expected a finding of {wanted}, got {sorted(spoke)}")
    return said


def problem(wanted: str, heard: Reply) -> list[str]:
    """RFC 9457, as this guard writes it."""
    found = heard.problem
    if found is None:
        return [f"expected a problem+json of {wanted}"]
    said = []
    if found.get("rule") not in wanted.split("|"):
        said.append(f"expected the rule {wanted}, got {found.get('rule')}")
    if not str(found.get("type")).endswith(str(found.get("rule"))):
        said.append(f"expected a type that ends in the rule, got {found.get('type')}")
    if found.get("status") != heard.status:
        said.append(f"expected the problem's status to be the answer's, got {found.get('status')}")
    if not found.get("title") or not found.get("detail"):
        said.append("expected a title and a detail")
    return said


def application(expect: Expect, heard: Reply, app: Reference) -> list[str]:
    """How often handlers ran, and what the last of them saw."""
    said = []
    if expect.runs is not None and app.runs != expect.runs:
        said.append(f"expected {expect.runs} executions so far, got {app.runs}")
    if expect.untouched and heard.touched:
        said.append("expected the content to be left unread")
    return [*said, *(sight(expect, app) if expect.unseen or expect.seen_path or expect.saw else [])]


def sight(expect: Expect, app: Reference) -> list[str]:
    if not app.calls:
        return ["expected a handler to run"]
    seen = app.calls[-1]
    said = [f"expected the handler not to see {name}" for name in expect.unseen if seen.header(name) is not None]
    for name, value in expect.saw:
        if (found := [line for field_name, line in seen.headers if field_name == name]) != [value]:
            said.append(f"expected the handler to see {name}: {value}, got {found}")
    if expect.seen_path and seen.path != expect.seen_path:
        said.append(f"expected the handler to see {expect.seen_path}, got {seen.path}")
    return said


def describe(reply: Reply) -> str:
    raised = f", raised {reply.raised!r}" if reply.raised else ""
    return f"{reply.status} {reply.headers} {reply.body[:300]!r}{raised}"
