"""In front of a service that nobody can change: its verbs keep their word through a gateway.

    app = verbguard.guard(verbguard.gateway.Gateway("http://127.0.0.1:9000"))

Served by any ASGI server, or by `verbguard serve --upstream http://127.0.0.1:9000`. Needs `verbguard[gateway]`.
"""

from verbguard.gateway.proxy import Gateway
from verbguard.gateway.upstream import Answer, Content, Forbidden, Late, Malformed, Truncated, Unreached, Upstream

__all__ = ["Answer", "Content", "Forbidden", "Gateway", "Late", "Malformed", "Truncated", "Unreached", "Upstream"]
