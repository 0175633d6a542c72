"""The app of the soak: it writes what it does into the ledger, some time after it was called and some time before it answers.

SOAK_STORE=redis://... SOAK_LEDGER=/path uvicorn --factory soak.app:made
"""

from __future__ import annotations

import asyncio
import json
import os
import random
from time import time
from typing import Any
from uuid import uuid4

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

import verbguard
from soak.broken import broken
from soak.ledger import Effect, Ledger
from verbguard import Replay, collection, item

__all__ = ["LEASE", "SLOW", "WINDOW", "made"]

LEASE = 1.0  # seconds: short, so that runs of killed servers become unknown while the soak is still looking
WINDOW = 2.0  # seconds: nothing keyless is kept for so long after an outage, and most of the soak should see replays
SLOW = 1.4  # seconds of a run that must have its lease renewed

# A key that is required is refused during an outage; any other would run unprotected, and be called a duplicate.
_KEYED = Replay(required=True, lease=LEASE, window=WINDOW)
_KEYLESS = Replay(lease=LEASE, window=WINDOW)
POLICIES = {
    "/orders": collection(replay=_KEYED, location="/orders/{id}"),
    "/documents/{name}": item(replay=_KEYED),
    "/items/{name}": item(replay=_KEYLESS),
}


def made() -> FastAPI:
    app = FastAPI()
    ledger = Ledger(os.environ["SOAK_LEDGER"])
    chance = random.Random()

    async def run(request: Request) -> dict[str, Any]:
        began, content = time(), await request.body()
        await asyncio.sleep(_pause(chance))
        effect = Effect(
            run=uuid4().hex,
            process=os.getpid(),
            sent=float(request.headers.get("x-retry-attempt", "0")),
            began=began,
            at=time(),
            method=request.method,
            path=request.url.path,
            principal=request.headers.get("authorization", ""),
            key=request.headers.get("idempotency-key", "").strip('"'),
            operation=int(request.headers.get("x-request-id", "0")),
            value=json.loads(content)["value"] if content else "",
        )
        ledger.write(effect)
        await asyncio.sleep(_pause(chance))
        return {"id": effect.run, "for": effect.principal, "value": effect.value}

    @app.post("/orders", status_code=201)
    async def order(request: Request) -> JSONResponse:
        return JSONResponse(await run(request), 201)

    @app.get("/orders/{id}")
    async def ordered(id: str) -> dict[str, str]:
        return {"id": id}

    @app.patch("/documents/{name}")
    @app.delete("/documents/{name}")
    @app.put("/documents/{name}")
    @app.put("/items/{name}")
    async def change(request: Request) -> JSONResponse:
        return JSONResponse(await run(request))

    flaw, store = os.environ.get("SOAK_BROKEN", ""), verbguard.stores.open(os.environ["SOAK_STORE"])
    options: dict[str, Any] = {"policies": POLICIES, "store": broken(flaw, store) if flaw else store}
    if flaw == "one-principal":
        options["principal"] = lambda request: "everybody"
    guarded: FastAPI = verbguard.guard(app, **options)
    return guarded


def _pause(chance: random.Random) -> float:
    return SLOW / 2 if chance.random() < 0.01 else chance.uniform(0.0, 0.02)
