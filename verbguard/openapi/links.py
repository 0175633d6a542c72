"""Where a POST's creation is, as the links of its 201 tell: `location` of a policy."""

from __future__ import annotations

import re
from urllib.parse import unquote

from verbguard.openapi.documents import Node
from verbguard.routes import parameters

__all__ = ["Operations", "location"]

_MEMBER = re.compile(r"\$response\.body#/([^/~{}:]+)")
_ASKED = re.compile(r"\$request\.path\.([^{}:/]+)")


class Operations:
    """The operations of a document, to be found by what a link says."""

    def __init__(self) -> None:
        self._by_id: dict[str, list[tuple[str, str]]] = {}
        self._by_place: dict[tuple[str, str], list[tuple[str, str]]] = {}

    def add(self, method: str, path: str, template: str, operation: Node) -> None:
        self._by_place.setdefault((path, method), []).append((method, template))
        id = operation.value.get("operationId")
        if isinstance(id, str):
            self._by_id.setdefault(id, []).append((method, template))

    def readable(self, link: Node, prefix: str) -> str | None:
        """The template that a link leads to, if it is read by GET and stands below the same prefix."""
        id, reference = link.value.get("operationId"), link.value.get("operationRef")
        found: list[tuple[str, str]] = []
        if isinstance(id, str):
            found = self._by_id.get(id, [])
        elif isinstance(reference, str) and reference.startswith("#/paths/") and reference.count("/") == 3:
            _, _, path, method = reference.split("/")
            found = self._by_place.get((unquote(path).replace("~1", "/").replace("~0", "~"), method.upper()), [])
        templates = [template for method, template in found if method == "GET" and template.startswith(prefix)]
        return templates[0] if templates else None


def location(operation: Node, path: str, prefix: str, operations: Operations) -> str | None:
    """The template of what a POST at `path` creates, with its parameters named as the members of the answer are.

    None where the document does not tell, or tells it in a way that a template cannot.
    """
    responses = operation.get("responses")
    created = None if responses is None else dict(responses.table().members()).get("201")
    if created is None or created.is_foreign:
        return None
    links = created.table().get("links")
    for _, link in [] if links is None else links.table().members():
        if link.is_foreign:
            continue
        link = link.table()
        template = operations.readable(link, prefix)
        found = None if template is None else _filled(template, link, path)
        if found is not None:
            return found
    return None


def _filled(template: str, link: Node, path: str) -> str | None:
    given = link.get("parameters")
    told = {} if given is None else {name.removeprefix("path."): node.value for name, node in given.table().members()}
    asked = parameters(path)
    names = []
    for name in parameters(template):
        said = told.get(name)
        if said is None and name in asked:
            names.append(name)
        elif isinstance(said, str) and (member := _MEMBER.fullmatch(said)):
            names.append(member[1])
        elif isinstance(said, str) and (own := _ASKED.fullmatch(said)) and own[1] in asked:
            names.append(own[1])
        else:
            return None
    if not names or len(set(names)) < len(names) or any(name in asked for name in names[-1:]):
        return None
    if ":path}" in template:
        return None
    pieces = re.split(r"\{[^{}]*\}", template)
    return "".join(piece + ("{" + name + "}" if name else "") for piece, name in zip(pieces, [*names, ""], strict=True))
