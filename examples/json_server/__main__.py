"""json-server, the usual stand-in for a REST backend, with a gateway in front of it. From the repository:

    npm install --prefix examples/json_server --no-package-lock
    python -m examples.json_server --db db.json

json-server alone makes two posts of one that is sent twice, answers a PUT on a collection with 404, and knows no Allow. Where
the file is not there yet it is made from the example's own.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from examples.beside import ports, together

HERE = Path(__file__).parent


def main() -> int:
    """Run both until one ends."""
    parser = ports("json-server, guarded.")
    parser.add_argument("--db", type=Path, default=Path("db.json"), help="the file that json-server serves")
    options = parser.parse_args()
    program = shutil.which("json-server", path=HERE / "node_modules" / ".bin") or shutil.which("json-server")
    if program is None:
        sys.exit("json-server is not installed: npm install --prefix examples/json_server --no-package-lock")
    if not options.db.exists():
        shutil.copy(HERE / "db.json", options.db)

    def command(port: int) -> list[str]:
        return [program, "--quiet", "--host", "127.0.0.1", "--port", str(port), str(options.db)]

    return together(command, HERE / "verbguard.toml", options)


if __name__ == "__main__":
    sys.exit(main())
