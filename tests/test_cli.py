"""The command line as a whole: what it asks for, how it teaches, what it says to a mistake."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from commands import apps
from commands.running import run, without

import verbguard


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the apps in it."""
    folder = tmp_path_factory.mktemp("apps")
    apps.write(folder)
    return folder


MISTAKES = [
    # arguments                                          what the one line says
    ([], "Name the app"),
    (["fast"], "shop:app"),
    (["fast.py"], "module"),
    (["fsat:app"], "Did you mean 'fast'?"),
    (["zzz.deep:app"], "--app-dir"),
    (["fast:ap"], "Did you mean 'app'?"),
    (["fast:nothing_like_it"], "create_app"),
    (["words:app"], "of type str"),
    (["fast:create_app"], "--factory"),
    (["legacy:application", "--factory"], "leave --factory out"),
    (["words:app", "--factory"], "leave --factory out"),
    (["sick:app"], "RuntimeError: the database is not there (sick.py:2)"),
    (["script:app"], "__main__"),
    (["needy:app"], "No module named 'no_such_library' (needy.py:1)"),
    (["typo:app"], "SyntaxError"),
    (["fast:app", "--config", "missing.toml"], "There is no missing.toml"),
    (["fast:app", "--config", "wrong.toml"], "did you mean 'kind'?"),
    (["fast:app", "--config", "basket.toml"], "/basket"),
]


@pytest.mark.parametrize("command", ["serve", "routes"])
@pytest.mark.parametrize(("arguments", "says"), MISTAKES)
def test_mistakes_are_one_line(folder: Path, command: str, arguments: list[str], says: str) -> None:
    """A mistake of the caller is one line that says what to do next, and exit status 2."""
    done = run(command, *arguments, cwd=folder)
    assert (done.returncode, done.stdout) == (2, "")
    # on a busy machine importing takes its two seconds, and says so before
    lines = [line for line in done.stderr.splitlines() if not line.startswith("... importing ")]
    assert len(lines) == 1 and says in lines[0]


def test_only_serving_opens_the_store(folder: Path) -> None:
    """A look at the routes needs neither the store nor its secrets; serving says which one is missing."""
    done = run("serve", "fast:app", "--config", "sealed.toml", cwd=folder)
    assert done.returncode == 2
    assert "sealed.toml: store.keys_env = 'NO_SUCH_VARIABLE'" in done.stderr
    done = run("routes", "fast:app", "--config", "sealed.toml", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert not (folder / "replays.db").exists()


def test_click_is_asked_for(tmp_path: Path) -> None:
    """Without click the command says what to install, in one line, with exit status 2."""
    done = run("demo", cwd=tmp_path, command=without("click"))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines() == ["The command line needs click: pip install 'verbguard[demo]'"]


@pytest.mark.parametrize("module", ["fastapi", "uvicorn", "h11"])
def test_the_demo_asks_for_its_extra(tmp_path: Path, module: str) -> None:
    """Without a part of its extra the demo says what to install."""
    done = run("demo", cwd=tmp_path, command=without(module))
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].endswith("pip install 'verbguard[demo]'")


def test_import_loads_no_extra(tmp_path: Path) -> None:
    """`import verbguard` never loads the command line's libraries."""
    text = "import sys, verbguard; print(sorted({'click', 'rich', 'uvicorn', 'a2wsgi', 'h11'} & set(sys.modules)))"
    assert run(cwd=tmp_path, command=(sys.executable, "-c", text)).stdout == "[]\n"


def test_version(tmp_path: Path) -> None:
    """--version says which verbguard this is."""
    assert run("--version", cwd=tmp_path).stdout == f"verbguard {verbguard.__version__}\n"


@pytest.mark.parametrize("command", ["", "demo", "serve", "routes", "learn", "rules", "store"])
def test_help_teaches(tmp_path: Path, command: str) -> None:
    """--help has examples that can be copied."""
    done = run(*filter(None, [command, "--help"]), cwd=tmp_path)
    assert done.returncode == 0
    assert f"  verbguard {command or 'demo'}" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert "\b" not in done.stdout
