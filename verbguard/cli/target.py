"""MODULE:APP, the way uvicorn spells it: find the app, or say in one line what is missing."""

from __future__ import annotations

import importlib
import inspect
import sys
import traceback
from collections.abc import Callable, Iterable
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import click

from verbguard.cli.terminal import patience


class Trouble(click.ClickException):
    """A mistake in how the command was called: one line, exit status 2."""

    exit_code = 2


def target_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The argument and options every command that loads an app shares."""
    command = click.option(
        "--app-dir",
        default=".",
        show_default="the current folder",
        type=click.Path(exists=True, file_okay=False),
        help="Where to look for MODULE.",
    )(command)
    command = click.option("--factory", is_flag=True, help="APP is a function that returns the app.")(command)
    return click.argument("target", metavar="MODULE:APP", required=False)(command)


def load(target: str | None, *, factory: bool, app_dir: str) -> Any:
    """Import the app that MODULE:APP names."""
    module_name, _, attribute = (target or "").partition(":")
    if not module_name or not attribute:
        raise Trouble(f"{_spelling(target)} Write it as uvicorn does: verbguard {_command()} shop:app")
    if (folder := str(Path(app_dir).resolve())) not in sys.path:
        sys.path.insert(0, folder)
    with patience(f"importing {module_name}"):
        module = _module(module_name, folder)
        app = _attribute(module, attribute)
        return _made(app, target or "") if factory else _app(app, target or "")


def _spelling(target: str | None) -> str:
    if not target:
        return "Name the app."
    if target.endswith(".py") or "/" in target:
        return f"{target!r} is a file; the name of its module is wanted."
    return f"{target!r} lacks the name of the app after a colon."


def _command() -> str:
    context = click.get_current_context(silent=True)
    return (context.info_name if context else None) or "serve"


def _module(name: str, folder: str) -> Any:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as missing:
        if missing.name is None or not (name == missing.name or name.startswith(f"{missing.name}.")):
            raise _failed(missing, f"importing {name}") from missing
        modules = [path.stem for path in Path(folder).glob("*.py")]
        hint = _nearest(name, modules) or "Point --app-dir at the folder it is in."
        raise Trouble(f"There is no module {missing.name!r} in {folder} or among the installed packages. {hint}") from None
    except SystemExit as left:
        # A script without `if __name__ == "__main__"` parses arguments or starts a server of its own.
        raise Trouble(
            f"Importing {name} ended the program ({left.code!r}): put what it runs under `if __name__ == '__main__':`."
        ) from None
    except Exception as error:
        raise _failed(error, f"importing {name}") from error


def _attribute(module: Any, path: str) -> Any:
    found = module
    for name in path.split("."):
        try:
            found = getattr(found, name)
        except AttributeError:
            known = _apps(module)
            hint = _nearest(name, known) or f"The names it has: {', '.join(known[:8]) or 'none that a server could call'}."
            raise Trouble(f"{module.__name__} has no attribute {path!r}. {hint}") from None
    return found


def _apps(module: Any) -> list[str]:
    """The names in a module that may be an app or a factory, the likeliest first."""
    own = {
        name: value
        for name, value in vars(module).items()
        if callable(value) and not inspect.isclass(value) and not name.startswith("_")
        if not inspect.isfunction(value) or value.__module__ == module.__name__
    }
    return sorted(own, key=lambda name: (inspect.isfunction(own[name]), "app" not in name))


def _made(factory: Any, target: str) -> Any:
    if not callable(factory):
        raise Trouble(f"{target} is {_a(factory)}, not a function: leave --factory out, or name the function.")
    if not _needs_nothing(factory):
        raise Trouble(f"{target} cannot be called without arguments, so it is not a factory: leave --factory out.")
    try:
        return _app(factory(), target)
    except click.ClickException:
        raise
    except Exception as error:
        raise _failed(error, f"calling {target}()") from error


def _app(app: Any, target: str) -> Any:
    if not callable(app):
        raise Trouble(f"{target} is {_a(app)}, which no server can call: name the ASGI or WSGI app itself.")
    if inspect.isfunction(app) and _needs_nothing(app):
        raise Trouble(f"{target} can be called without arguments, so it looks like a factory: add --factory.")
    return app


def _needs_nothing(function: Any) -> bool:
    try:
        inspect.signature(function).bind()
    except (TypeError, ValueError):
        return False
    return True


def _a(value: object) -> str:
    return f"of type {type(value).__name__}"


def _nearest(name: str, known: Iterable[str]) -> str | None:
    close = get_close_matches(name, list(known), n=1)
    return f"Did you mean {close[0]!r}?" if close else None


def _failed(error: Exception, doing: str) -> Trouble:
    """The user's own code raised: what, and on which of its lines."""
    stack = traceback.extract_tb(error.__traceback__)
    frames = [frame for frame in stack if "importlib" not in frame.filename and frame.filename != __file__]
    place = f" ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""
    message = " ".join(str(error).split()) or "no message"
    return Trouble(f"{doing} failed: {type(error).__name__}: {message}{place}. Run it with plain python to see it all.")
