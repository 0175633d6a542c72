"""The workshop's script of 2009 as a service of its own, under waitress, with a gateway in front of it. From the repository:

    python -m examples.wsgi_service

It needs waitress: `pip install waitress`. The policies are those of examples/legacy.toml, which guards the same script from
inside. The parts are kept in parts.db, or in the file that PARTS_DB names.
"""

from __future__ import annotations

import sys
from pathlib import Path

from examples.beside import ports, together


def main() -> int:
    """Run both until one ends."""
    options = ports("A WSGI script under waitress, guarded.").parse_args()

    def command(port: int) -> list[str]:
        return [sys.executable, "-m", "waitress", f"--listen=127.0.0.1:{port}", "examples.legacy_wsgi:application"]

    return together(command, Path(__file__).parent.parent / "legacy.toml", options)


if __name__ == "__main__":
    sys.exit(main())
