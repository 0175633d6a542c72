"""What an OpenAPI document (3.0, 3.1, 3.2) tells of a service: knowledge that is added, and refuses nothing by itself.

    from verbguard import openapi
    app = verbguard.guard(Gateway("http://127.0.0.1:9000"), policies=openapi.load("api.yaml").policies())

In a verbguard.toml it is one line, `openapi = "api.yaml"`, and what the file itself says wins, field by field.
"""

from verbguard.openapi.knowledge import Knowledge, load, loads

__all__ = ["Knowledge", "load", "loads"]
