"""`verbguard routes`: what the guard sees in an app, as a table and as data."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest
from commands import apps
from commands.running import COLOUR, COMMAND, run, without

from verbguard.cli.terminal import fitting


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the apps in it."""
    folder = tmp_path_factory.mktemp("apps")
    apps.write(folder)
    return folder


def listed(*arguments: str, cwd: Path) -> dict[str, dict[str, Any]]:
    done = run("routes", *arguments, "--json", cwd=cwd)
    assert done.returncode == 0, done.stderr
    return {row["template"]: row for row in json.loads(done.stdout)}


def test_routes_of_fastapi(folder: Path) -> None:
    """Kind and why, methods, Allow without and with the guard, of a FastAPI app."""
    rows = listed("fast:app", cwd=folder)
    notes, note = rows["/notes"], rows["/notes/{id}"]
    assert (notes["kind"], note["kind"], rows["/search"]["kind"]) == ("collection", "item", "unknown")
    assert "/notes/{id}" in notes["why"]
    assert notes["methods"] == ["GET", "POST", "PUT"]
    assert notes["app_allow"] == ["GET"]
    assert set(notes["guard_allow"]) == {"GET", "HEAD", "OPTIONS", "POST"}


def test_routes_of_flask(folder: Path) -> None:
    """The same of a Flask app, whose own Allow is complete."""
    rows = listed("flasky:app", cwd=folder)
    notes = rows["/notes"]
    assert notes["kind"] == "collection"
    assert set(notes["app_allow"]) == {"GET", "HEAD", "OPTIONS", "POST", "PUT"}
    assert set(notes["guard_allow"]) == {"GET", "HEAD", "OPTIONS", "POST"}


def test_routes_say_where_a_policy_comes_from(folder: Path) -> None:
    """A policy is shown with its source, a decorator or the file, and with what it says beyond the defaults."""
    rows = listed("fast:app", "--config", "notes.toml", cwd=folder)
    assert rows["/notes"]["policies"] == [
        {"method": "", "source": "notes.toml", "says": {"kind": "collection", "location": "/notes/{id}"}}
    ]
    (decorated,) = rows["/notes/{id}"]["policies"]
    assert decorated["method"] == "PUT"
    assert re.fullmatch(r"decorator fast\.py:\d+", decorated["source"])
    assert decorated["says"] == {"kind": "item", "replay.window": "12.0"}
    assert rows["/search"]["policies"] == []


def test_routes_of_an_app_with_its_own_guard(folder: Path) -> None:
    """Where the app calls guard() itself, its policies are the ones that act, and are shown."""
    rows = listed("guarded_fast:app", cwd=folder) | listed("guarded_flask:app", cwd=folder)
    for template in ("/me", "/you"):
        assert rows[template]["kind"] == "singleton"
        assert rows[template]["policies"] == [{"method": "", "source": "the app's guard()", "says": {"kind": "singleton"}}]


def test_routes_of_a_bare_app(folder: Path) -> None:
    """An app that shows no routes is told so, and what to do."""
    done = run("routes", "legacy:application", cwd=folder)
    assert done.returncode == 0 and "policy" in done.stdout.lower()
    assert listed("legacy:application", cwd=folder) == {}
    assert listed("legacy:application", "--config", "basket.toml", cwd=folder)["/basket"]["kind"] == "collection"


@pytest.mark.parametrize("rich", [True, False])
def test_routes_table(folder: Path, rich: bool) -> None:
    """The table fits 80 columns, with rich and without, and every template can be read in it."""
    done = run("routes", "fast:app", cwd=folder, command=COMMAND if rich else without("rich"))
    assert done.returncode == 0, done.stderr
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert COLOUR not in done.stdout
    for word in ("/notes", "/notes/{id}", "/search", "collection", "item", "unknown", "decorator"):
        assert word in done.stdout


@pytest.mark.parametrize(("extra", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False)])
def test_colour_on_a_terminal(folder: Path, extra: dict[str, str], coloured: bool) -> None:
    """A terminal gets colour, unless NO_COLOR is set."""
    text = f"import pty, sys; sys.exit(pty.spawn({[*COMMAND, 'routes', 'fast:app']!r}) >> 8)"
    done = run(cwd=folder, command=(sys.executable, "-c", text), **extra)
    assert done.returncode == 0, done.stdout
    assert (re.search(r"\x1b\[[0-9;]*3[0-7]m", done.stdout) is not None) == coloured


def test_plain_columns_fit() -> None:
    """A plain table gives each column what it asks for, and takes from the widest when there is too little room."""
    assert fitting([[["ab"], ["abcd"]], [["a"], []]], 80) == [2, 4]
    assert fitting([[["a" * 60], ["b" * 40]]], 60) == [29, 29]
