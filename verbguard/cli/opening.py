"""From a URL on the command line to an open store, and from what goes wrong with it to one line."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from verbguard.cli.target import Trouble
from verbguard.cli.terminal import patience

if TYPE_CHECKING:
    from verbguard.stores.operations import Operated

URL = "VERBGUARD_STORE"
KEYS = "VERBGUARD_STORE_KEYS"


class Failed(click.ClickException):
    """The command was called well, and what it was to do could not be done: exit status 1."""

    exit_code = 1


def store_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The argument and the option of every command that asks a store."""
    return click.argument("url", required=False)(keys_option(command))


def keys_option(command: Callable[..., Any]) -> Callable[..., Any]:
    return click.option(
        "--key-file",
        metavar="FILE",
        type=click.Path(path_type=Path),
        help=f"Encryption keys, one a line, the newest first. Default: {KEYS}, with commas.",
    )(command)


def split(words: Sequence[str]) -> tuple[str | None, Sequence[str]]:
    """The URL, where there is one, and the names after it."""
    return (words[0], words[1:]) if words and "://" in words[0] else (None, words)


@contextmanager
def opened(url: str | None, key_file: Path | None, *, create: bool = False) -> Iterator[tuple[Operated, str]]:
    """The store that is meant, and its URL as it can be shown. Nothing is created unless it is asked for."""
    from verbguard.errors import ConfigError, StoreError
    from verbguard.stores import hidden
    from verbguard.stores import open as open_store

    url = url or os.environ.get(URL)
    if not url:
        raise Trouble(f"Name the store: verbguard store {_command()} sqlite:///replays.db, or set {URL}.")
    if url.startswith("memory:"):
        raise Trouble(f"{url} is the memory of the process that serves, and this is another: there is nothing to show.")
    shown = hidden(url)
    try:
        store = open_store(url, keys=_keys(key_file), create=create)
    except ConfigError as error:
        raise Trouble(_line(error)) from None
    try:
        with patience(f"waiting for {shown}"):
            yield cast("Operated", store), shown
    except StoreError as error:
        raise Failed(f"{shown}: {_line(error).replace(url, shown)}. {_advice(error, shown)}".rstrip()) from None
    finally:
        close = getattr(store, "close", None)
        if close is not None:
            close()


def _keys(key_file: Path | None) -> list[str]:
    """The encryption keys that the caller may use; a line that begins with # is a remark."""
    if key_file is None:
        return [key.strip() for key in os.environ.get(KEYS, "").split(",") if key.strip()]
    try:
        lines = [line.strip() for line in key_file.read_text("utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise Trouble(f"--key-file: {error}.") from None
    keys = [line for line in lines if line and not line.startswith("#")]
    if not keys:
        raise Trouble(f"--key-file: {key_file} holds no key; `verbguard store key` makes one.")
    return keys


def _command() -> str:
    context = click.get_current_context(silent=True)
    return (context.info_name if context else None) or "ls"


def _line(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".")


def _advice(error: Exception, shown: str) -> str:
    """What to do next, where the store itself does not say it."""
    if "verbguard store" in str(error):
        return ""
    return "Is it running, and may this user reach it? Is the URL right?"
