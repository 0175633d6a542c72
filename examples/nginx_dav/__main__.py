"""nginx's DAV module with a gateway in front of it. From the repository:

    apt-get install nginx-light libnginx-mod-http-dav-ext
    python -m examples.nginx_dav --files /srv/files

nginx alone answers a PUT on a folder with 409, says DAV class 2 only, and runs every repeated PUT again.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

from examples.beside import ports, together

HERE = Path(__file__).parent


def main() -> int:
    """Run both until one ends."""
    parser = ports("nginx's DAV module, guarded.")
    parser.add_argument("--files", type=Path, required=True, help="the folder to serve")
    options = parser.parse_args()
    nginx = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    if nginx is None:
        sys.exit("nginx is not installed: apt-get install nginx-light libnginx-mod-http-dav-ext")
    with tempfile.TemporaryDirectory() as folder:
        prefix = Path(folder)
        (prefix / "files").symlink_to(options.files.resolve(strict=True), target_is_directory=True)

        def command(port: int) -> list[str]:
            text = (HERE / "nginx.conf").read_text("utf-8").replace("127.0.0.1:9000", f"127.0.0.1:{port}")
            (prefix / "nginx.conf").write_text(text, "utf-8")
            return [nginx, "-e", "stderr", "-p", folder, "-c", "nginx.conf"]

        return together(command, HERE / "verbguard.toml", options)


if __name__ == "__main__":
    sys.exit(main())
