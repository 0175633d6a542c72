"""litmus, the conformance suite of WebDAV servers: through the gateway each server is what it is without."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from programs import needs
from started import GATEWAY, PATIENCE, ROOT, Service, serving

EXAMPLE = (ROOT / "examples" / "nginx_dav" / "verbguard.toml").read_text("utf-8")
CONFIGS = {
    "one line": '[default]\nextension = "webdav"\n',
    "kinds, and states derived": EXAMPLE,
    # without the comparing that such a server does itself
    "kinds": "\n".join(line for line in EXAMPLE.splitlines() if not line.startswith(("preconditions", "replay"))),
}


def litmus(port: int, folder: Path) -> str:
    """What the suite says of a server, without the words that servers choose for a status (ASGI has none)."""
    folder.mkdir()
    url = f"http://127.0.0.1:{port}/"
    ran = subprocess.run(["litmus", "-k", url], cwd=folder, capture_output=True, text=True, timeout=PATIENCE)
    assert ran.stdout.count("<- summary") == 5, ran.stdout + ran.stderr
    return re.sub(r"\b([1-5]\d\d)( [A-Z][A-Za-z]*)+", r"\1", ran.stdout)


# Both servers delete `/folder/#fragment`, which litmus calls unsafe; the gateway refuses such a target.
UNSAFE = re.compile(
    r"( *\d+\. delete_fragment\.+) WARNING: DELETE removed collection resource with Request-URI including fragment; unsafe\n"
    r" *\.+ pass \(with 1 warning\)\n *\.+ \n( *\d+\. \w+\.+)"
)


def safer(bare: str) -> str:
    """What a server is to be through the gateway: what it is without, and without this warning."""
    said, count = UNSAFE.subn(r"\1 \n\1 pass\n\n\2 \n\2", bare)
    assert count == 1
    return said.replace("-> 1 warning was issued.\n", "", 1)


@pytest.fixture
def nginx(tmp_path: Path) -> Iterator[Service]:
    needs("nginx")
    needs("litmus")
    files = tmp_path / "files"
    files.mkdir()
    with serving("examples.nginx_dav", f"--files={files}", "--port=0", "--upstream-port=0", until=GATEWAY) as service:
        yield service


def test_nginx(nginx: Service, tmp_path: Path) -> None:
    """With the kinds of its folders and files declared; it fails some tests by itself, and those only."""
    bare, guarded = litmus(nginx.upstream, tmp_path / "bare"), litmus(nginx.port, tmp_path / "guarded")
    assert "FAIL" in bare
    assert guarded == safer(bare)


@pytest.mark.parametrize("host", ["public", "upstream"])
@pytest.mark.parametrize("declared", CONFIGS)
def test_wsgidav(tmp_path: Path, declared: str, host: str) -> None:
    """It passes all that litmus has, and does so through the gateway, whichever Host it gets."""
    needs("litmus")
    files, config = tmp_path / "files", tmp_path / "verbguard.toml"
    files.mkdir()
    config.write_text(f'{CONFIGS[declared]}\n[gateway]\nhost = "{host}"\n', "utf-8")
    path = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    command = ("waitress", "--listen=127.0.0.1:0", "--call", "dav_server:create")
    with serving(*command, DAV_FILES=str(files), PYTHONPATH=path) as service:
        upstream = f"--upstream=http://127.0.0.1:{service.port}"
        with serving("verbguard", "serve", upstream, f"--config={config}", "--port=0", until=GATEWAY) as gateway:
            bare, guarded = litmus(service.port, tmp_path / "bare"), litmus(gateway.port, tmp_path / "guarded")
    assert bare.count(" 0 failed. 100.0%") == 5
    assert guarded == safer(bare)
