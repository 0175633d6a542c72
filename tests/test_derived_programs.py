"""Derived preconditions in front of programs that nobody here wrote: nginx's DAV module, and json-server."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from programs import needs
from started import GATEWAY, Answer, Service, serving

CLIENTS = 20


@contextmanager
def guarded(program: str, config: str, folder: Path, *options: str) -> Iterator[Service]:
    """A second gateway in front of the service of an example, with policies of its own."""
    (folder / "derive.toml").write_text(config, "utf-8")
    with serving(program, *options, "--port=0", "--upstream-port=0", until=GATEWAY) as example:
        upstream = f"--upstream=http://127.0.0.1:{example.upstream}"
        with serving(
            "verbguard", "serve", upstream, f"--config={folder / 'derive.toml'}", "--port=0", until=GATEWAY
        ) as gateway:
            yield gateway


def count_up(gateway: Service, path: str, read: Callable[[Answer], int], write: Callable[[int], object]) -> None:
    """Read, add one, write on the condition that nobody else has, until it is done."""
    for _ in range(1_000):
        seen = gateway.ask("GET", path)
        answer = gateway.ask("PUT", path, write(read(seen) + 1), if_match=seen.headers["etag"])
        if answer.status in (200, 204):
            return
        assert answer.status == 412, (answer.status, answer.content)
    raise AssertionError("no end")


def count_together(gateway: Service, path: str, read: Callable[[Answer], int], write: Callable[[int], object]) -> int:
    """What many clients make of it together."""
    with ThreadPoolExecutor(CLIENTS) as pool:
        for done in [pool.submit(count_up, gateway, path, read, write) for _ in range(CLIENTS)]:
            done.result()
    return read(gateway.ask("GET", path))


def test_nginx_loses_no_update(tmp_path: Path) -> None:
    """Its ETag is made of a second and a length, and is the same for two contents of one second: it is not trusted so soon."""
    needs("nginx")
    files = tmp_path / "files"
    files.mkdir()
    config = '[default]\nextension = "webdav"\npreconditions = "derive"\nrequire_precondition = true\n'
    with guarded("examples.nginx_dav", config, tmp_path, f"--files={files}") as gateway:
        assert gateway.ask("PUT", "/n.txt", "100", if_none_match="*").status == 201
        assert gateway.ask("PUT", "/n.txt", "100", if_none_match="*").status == 412
        assert (
            count_together(gateway, "/n.txt", lambda answer: int(answer.content), lambda number: f"{number}") == 100 + CLIENTS
        )
        assert (files / "n.txt").read_text() == f"{100 + CLIENTS}"


def test_json_server_loses_no_update(tmp_path: Path) -> None:
    """Its own ETags are weak, or none: they are replaced by those of the content."""
    needs("json-server")
    data = tmp_path / "db.json"
    data.write_text(json.dumps({"counters": [{"id": "1", "n": 0}]}))
    config = '[policies."/counters/{id}"]\nkind = "item"\npreconditions = "derive"\nrequire_precondition = true\n'
    with guarded("examples.json_server", config, tmp_path, f"--db={data}") as gateway:
        assert count_together(gateway, "/counters/1", lambda answer: answer.data["n"], lambda n: {"id": "1", "n": n}) == CLIENTS
