"""The wrapper that puts the guard around legacy_wsgi.py under any WSGI server; the script itself stays as it is.

Run it from the repository, with waitress here, or with gunicorn or mod_wsgi just so:

    waitress-serve --listen=localhost:8080 examples.legacy_guarded:application
"""

from __future__ import annotations

from pathlib import Path

import verbguard
from examples import legacy_wsgi
from verbguard import config

_config = config.loads(Path(__file__).with_name("legacy.toml").read_text(encoding="utf-8"))
application = verbguard.guard(legacy_wsgi.application, policies=_config.policies, profile=_config.profile)
