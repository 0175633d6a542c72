"""What an ASGI server does not let a gateway do: the reason, and what happens there instead.

Each is asserted to happen, so that the day on which it becomes possible is a failed test. A server's name of "asgi" stands
for all of them: the interface itself has no place for it.
"""

from __future__ import annotations

from dataclasses import dataclass

from gateway.cases import Case
from gateway.judge import Gets, Sees


@dataclass(frozen=True, slots=True, kw_only=True)
class Impossible:
    reason: str
    gets: Gets | None = None  # None: as in the case
    sees: Sees | None = None
    unseen: bool = False  # the upstream sees nothing


IMPOSSIBLE: dict[tuple[str, str], Impossible] = {}


def impossible(server: str, case: Case) -> Impossible | None:
    return IMPOSSIBLE.get((server, case.name)) or IMPOSSIBLE.get(("asgi", case.name))
