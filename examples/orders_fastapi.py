"""An order service on FastAPI: customers place orders, change them until they are paid, and pay once.

Run it from the repository; the orders are kept in orders.db, or in the file that ORDERS_DB names:

    uvicorn examples.orders_fastapi:app

Place an order twice with one key, and there is one order (the second answer says Idempotent-Replayed: true):

    curl -i localhost:8000/orders -H 'Authorization: Bearer ada-1' -H 'Idempotency-Key: "lunch"' \
        -H 'Content-Type: application/json' -d '{"lines": {"soup": 2}}'

The policies stand beside the endpoints they are about, as `@guarded(...)`; the last line switches them on.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Header, HTTPException
from pydantic import BaseModel, PositiveInt

import verbguard
from verbguard import Replay, action, collection, guarded, item

DATABASE = os.environ.get("ORDERS_DB", "orders.db")
SCHEMA = """
    CREATE TABLE IF NOT EXISTS orders (
        id INTEGER PRIMARY KEY, customer TEXT NOT NULL, lines TEXT NOT NULL,
        revision INTEGER NOT NULL DEFAULT 1, paid INTEGER NOT NULL DEFAULT 0
    );
    CREATE TABLE IF NOT EXISTS payments (id INTEGER PRIMARY KEY, order_id INTEGER NOT NULL, items INTEGER NOT NULL);
"""
# Ada's client renews its token now and then: between two tries of one request the token may change, Ada does not.
TOKENS = {"ada-1": "ada", "ada-2": "ada", "bob-1": "bob"}


class Cart(BaseModel):
    """What a customer sends."""

    lines: dict[str, PositiveInt]


class Order(Cart):
    """What a customer gets back."""

    id: int
    revision: int
    paid: bool


class Receipt(BaseModel):
    """The proof of a payment."""

    payment: int
    order: int
    items: int


def connect() -> sqlite3.Connection:
    connection = sqlite3.connect(DATABASE, check_same_thread=False)  # FastAPI may finish a request in another thread
    connection.row_factory = sqlite3.Row
    return connection


def database() -> Iterator[sqlite3.Connection]:
    """A connection for one request: committed when the endpoint returns, rolled back when it raises."""
    connection = connect()
    try:
        with connection:
            yield connection
    finally:
        connection.close()


def customer_of(authorization: str) -> str | None:
    return TOKENS.get(authorization.removeprefix("Bearer "))


def signed_in(authorization: Annotated[str, Header()] = "") -> str:
    customer = customer_of(authorization)
    if customer is None:
        raise HTTPException(401, headers={"WWW-Authenticate": "Bearer"})
    return customer


def principal(request: Any) -> str | None:
    """Whom a key belongs to: the customer, so that a renewed token finds the answer that the old one left."""
    return customer_of(dict(request.headers).get(b"authorization", b"").decode("latin-1"))


# scope="function": the commit comes before the answer leaves, so that no answer promises what was never written
Database = Annotated[sqlite3.Connection, Depends(database, scope="function")]
Customer = Annotated[str, Depends(signed_in)]

app = FastAPI(title="Orders")
with closing(connect()) as _database:
    _database.executescript(SCHEMA)


def find(db: sqlite3.Connection, order_id: int, customer: str) -> Order:
    row = db.execute("SELECT * FROM orders WHERE id = ? AND customer = ?", (order_id, customer)).fetchone()
    if row is None:
        raise HTTPException(404)
    return as_order(row)


def as_order(row: sqlite3.Row) -> Order:
    return Order(id=row["id"], lines=json.loads(row["lines"]), revision=row["revision"], paid=bool(row["paid"]))


@app.get("/orders")
def orders(db: Database, customer: Customer) -> list[Order]:
    rows = db.execute("SELECT * FROM orders WHERE customer = ? ORDER BY id", (customer,))
    return [as_order(row) for row in rows]


# An order placed twice is paid twice: the service insists on a key.
@app.post("/orders", status_code=201)
@guarded(collection(location="/orders/{id}", replay=Replay(required=True)))
def place(cart: Cart, db: Database, customer: Customer) -> Order:
    lines = json.dumps(cart.lines)
    number = db.execute("INSERT INTO orders (customer, lines) VALUES (?, ?)", (customer, lines)).lastrowid
    return find(db, number or 0, customer)


@app.get("/orders/{order_id}")
def order(order_id: int, db: Database, customer: Customer) -> Order:
    return find(db, order_id, customer)


# A change sent again within ten seconds is a retry; after that, somebody means it.
@app.put("/orders/{order_id}")
@guarded(item(replay=Replay(window=10)))
def change(order_id: int, cart: Cart, db: Database, customer: Customer) -> Order:
    if find(db, order_id, customer).paid:
        raise HTTPException(409, "a paid order is fixed")
    lines = json.dumps(cart.lines)
    db.execute("UPDATE orders SET lines = ?, revision = revision + 1 WHERE id = ?", (lines, order_id))
    return find(db, order_id, customer)


@app.delete("/orders/{order_id}", status_code=204)
@guarded(item())
def cancel(order_id: int, db: Database, customer: Customer) -> None:
    if find(db, order_id, customer).paid:
        raise HTTPException(409, "a paid order is fixed")
    db.execute("DELETE FROM orders WHERE id = ?", (order_id,))


# The second try of a payment gets the receipt of the first, and not "already paid".
@app.post("/orders/{order_id}/pay")
@guarded(action(replay=Replay(required=True)))
def pay(order_id: int, db: Database, customer: Customer) -> Receipt:
    paying = find(db, order_id, customer)
    if paying.paid:
        raise HTTPException(409, "already paid")
    items = sum(paying.lines.values())
    payment = db.execute("INSERT INTO payments (order_id, items) VALUES (?, ?)", (order_id, items)).lastrowid
    db.execute("UPDATE orders SET paid = 1 WHERE id = ?", (order_id,))
    return Receipt(payment=payment or 0, order=order_id, items=items)


verbguard.guard(app, principal=principal)
