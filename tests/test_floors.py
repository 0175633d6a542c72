"""The picture of docs/architecture.md is what the imports say: no arrow points up, and below the line nothing does I/O."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import verbguard

PACKAGE = Path(verbguard.__file__).parent

FLOORS = [
    {"errors", "http", "house", "methods", "routes", "webdav"},
    {"policy"},
    {"rules", "location", "replay", "records", "conditions", "derived", "digests"},
    {"declarations", "observers", "resources", "plans", "reach", "layouts", "answering", "exchange"},
    {"asgi", "wsgi", "serving", "awaiting", "bumps", "loops", "outages", "recording", "routers", "stores", "renewal", "spool"}
    | {"transactions", "workers", "looking", "turns"},
    {"doors", "fastapi", "flask", "config", "gateway", "learning", "lines", "monitoring", "openapi", "__init__"},
    {"__main__", "cli"},
]
FLOOR = {name: number for number, names in enumerate(FLOORS) for name in names}
LINE = 4  # the first floor that may do I/O

# What the floors below the line may use beside the standard library, and only inside the function that needs it.
PARSERS = {"werkzeug.http", "werkzeug.datastructures", "werkzeug.sansio.multipart", "http_sf"}
# Parts of the standard library that wait, talk or keep time.
OUTSIDE = {"asyncio", "concurrent", "multiprocessing", "random", "select", "socket", "sqlite3", "subprocess", "threading"}
OUTSIDE |= {"time", "secrets", "selectors", "http.client", "http.server", "urllib.request", "wsgiref"}

FILES = sorted(PACKAGE.rglob("*.py"))


def name(file: Path) -> str:
    """The module's name on its floor: the file, or the folder that is one subject."""
    return file.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(file: Path) -> Iterator[tuple[str, bool]]:
    """(module, whether the import runs as soon as the file is loaded), what only the type checker reads left out."""
    tree = ast.parse(file.read_text("utf-8"))
    for_types = {id(node) for block in ast.walk(tree) if is_for_types(block) for node in ast.walk(block)}
    inner = {id(node) for function in ast.walk(tree) if is_function(function) for node in ast.walk(function)}
    for node in ast.walk(tree):
        if id(node) in for_types:
            continue
        for module in named(node):
            yield module, id(node) not in inner


def named(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom) and node.module is not None:
        if node.module in ("verbguard", "werkzeug", "werkzeug.sansio", "http", "urllib"):
            return [f"{node.module}.{alias.name}" for alias in node.names]
        return [node.module]
    return []


def is_for_types(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def is_function(node: ast.AST) -> bool:
    return isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))


def floor_of(module: str) -> int:
    """Where an import of our own leads; a name that the package itself offers is on the package's floor."""
    return FLOOR.get((module + ".").split(".")[1], FLOOR["__init__"])


def below_the_line() -> list[Path]:
    return [file for file in FILES if FLOOR[name(file)] < LINE]


def path_of(file: Path) -> str:
    return str(file.relative_to(PACKAGE))


def test_every_module_has_a_floor() -> None:
    """A new module takes its place in the picture, or this test asks for it."""
    assert {name(file) for file in FILES} <= FLOOR.keys()


@pytest.mark.parametrize("file", FILES, ids=path_of)
def test_no_arrow_points_up(file: Path) -> None:
    """A module imports from lower floors or from its own, also inside functions."""
    own = FLOOR[name(file)]
    up = [module for module, _ in imports(file) if module.partition(".")[0] == "verbguard" and floor_of(module) > own]
    assert not up or file.name == "__init__.py" and file.parent == PACKAGE


@pytest.mark.parametrize("file", below_the_line(), ids=path_of)
def test_nothing_below_the_line_does_io(file: Path) -> None:
    """The engine, the rules and the values wait for nobody: no event loop, thread, socket or clock."""
    found = {module for module, _ in imports(file)}
    assert {module for module in found if module in OUTSIDE or module.partition(".")[0] in OUTSIDE} == set()


@pytest.mark.parametrize("file", below_the_line(), ids=path_of)
def test_only_parsers_are_used_below_the_line(file: Path) -> None:
    """No framework is known there; pure parsers are, each loaded only by the function that needs it."""
    for module, at_once in imports(file):
        if module.partition(".")[0] in sys.stdlib_module_names | {"verbguard"}:
            continue
        known = module in PARSERS or module.rpartition(".")[0] in PARSERS
        assert known and not at_once, f"{path_of(file)} imports {module}{' when it is loaded' if at_once else ''}"
