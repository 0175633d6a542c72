"""`python -m verbguard` and the console script: find click, then hand over to the command line."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line; the process ends with the command's exit status."""
    try:
        from verbguard.cli import program
    except ModuleNotFoundError as missing:
        if missing.name != "click":
            raise
        # click is an extra: `import verbguard` serves apps that never see a command line.
        sys.stderr.write("The command line needs click: pip install 'verbguard[demo]'\n")
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)  # Ctrl-C before any command could answer it; a traceback would only show what was being imported
    program(prog_name="verbguard")


if __name__ == "__main__":
    main()
