"""The demo's API: a small FastAPI service, written the way such services are written.

Nothing in it is staged to fail. Every handler does what its name says and counts that it ran; customers keep
every version they were ever PUT to, which is what an audit log, a trigger or a webhook makes of a repeated PUT.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from typing import Any

from fastapi import FastAPI, HTTPException, Response
from pydantic import BaseModel

PAYMENT = 0.2  # seconds the order waits for the payment provider


class Customer(BaseModel):
    name: str


class Order(BaseModel):
    item: str


def house_reply(status: int, value: Any) -> Response:
    """One helper for all answers, found in many services: JSON with its length, whatever the status."""
    content = json.dumps(value).encode()
    return Response(content, status, {"content-length": str(len(content))}, "application/json")


def shop() -> FastAPI:
    """A fresh shop with three customers; `app.state.runs` counts how often each handler ran."""
    app = FastAPI(title="shop")
    runs: Counter[str] = Counter()
    app.state.runs = runs
    versions: dict[int, list[str]] = {1: ["Joe"], 2: ["Ann"], 3: ["Lee"]}
    orders: list[str] = []

    def described(number: int) -> dict[str, Any]:
        return {"name": versions[number][-1], "edits": len(versions[number])}

    def found(number: int) -> int:
        if number not in versions:
            raise HTTPException(404, "no such customer")
        return number

    @app.get("/customers")
    async def list_customers() -> dict[str, Any]:
        runs["list_customers"] += 1
        return {"customers": len(versions)}

    @app.put("/customers")
    async def replace_customers(customers: list[Customer]) -> dict[str, Any]:
        runs["replace_customers"] += 1
        versions.clear()
        versions.update({number: [customer.name] for number, customer in enumerate(customers, 1)})
        return {"customers": len(versions)}

    @app.post("/customers", status_code=201)
    async def add_customer(customer: Customer) -> dict[str, Any]:
        runs["add_customer"] += 1
        number = max(versions, default=0) + 1
        versions[number] = [customer.name]
        return {"id": number, **described(number)}

    @app.get("/customers/{id}")
    async def show_customer(id: int) -> dict[str, Any]:
        runs["show_customer"] += 1
        return described(found(id))

    @app.put("/customers/{id}")
    async def put_customer(id: int, customer: Customer) -> dict[str, Any]:
        runs["put_customer"] += 1
        versions.setdefault(id, []).append(customer.name)
        return described(id)

    @app.delete("/customers/{id}")
    async def delete_customer(id: int) -> Response:
        runs["delete_customer"] += 1
        return house_reply(204, {"deleted": versions.pop(found(id))[-1]})

    @app.post("/orders", status_code=201)
    async def place_order(order: Order) -> dict[str, Any]:
        runs["place_order"] += 1
        await asyncio.sleep(PAYMENT)
        orders.append(order.item)
        return {"id": len(orders), "item": order.item}

    @app.get("/orders/{id}")
    async def show_order(id: int) -> dict[str, Any]:
        runs["show_order"] += 1
        if not 0 < id <= len(orders):
            raise HTTPException(404, "no such order")
        return {"id": id, "item": orders[id - 1]}

    @app.post("/basket/reset")
    async def reset_basket() -> Response:
        runs["reset_basket"] += 1
        return house_reply(205, {"basket": "empty"})

    return app
