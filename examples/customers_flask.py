"""A customer service on Flask: a blueprint, an application factory, and one table of policies.

Run it from the repository; the customers are kept in customers.db, or in the file that CUSTOMERS_DB names:

    flask --app examples.customers_flask run

Send one change twice, and the handler runs once (the second answer says Idempotent-Replayed: true):

    JSON='Content-Type: application/json'
    curl -i localhost:5000/customers -H "$JSON" -d '{"name": "Ada", "email": "ada@example.org"}'
    curl -i localhost:5000/customers/1 -X PUT -H "$JSON" -d '{"name": "Ada L.", "email": "ada@example.org"}'
"""

from __future__ import annotations

import os
import sqlite3
from typing import Any

from flask import Blueprint, Flask, abort, current_app, g, request
from flask.typing import ResponseReturnValue

import verbguard
from verbguard import Replay, action, collection, item, singleton

POLICIES = {
    "/customers": collection(location="/customers/{id}"),
    "/customers/{customer_id}": item(accept_patch=("application/merge-patch+json",), statuses={"DELETE": {204}}),
    "/customers/{customer_id}/address": singleton(),
    # Two customers that turn out to be one. To do that twice would merge a third: a key is required.
    "/customers/{customer_id}/merge": action(replay=Replay(required=True)),
}
SCHEMA = """
    CREATE TABLE IF NOT EXISTS customers (
        id INTEGER PRIMARY KEY, name TEXT NOT NULL, email TEXT NOT NULL, address TEXT,
        writes INTEGER NOT NULL DEFAULT 1
    );
"""

customers = Blueprint("customers", __name__, url_prefix="/customers")


def create_app(database: str | None = None) -> Flask:
    """The service on one database file, guarded."""
    app = Flask(__name__)
    app.config["DATABASE"] = database or os.environ.get("CUSTOMERS_DB", "customers.db")
    app.register_blueprint(customers)
    app.teardown_appcontext(disconnect)
    with app.app_context():
        connection().executescript(SCHEMA)
    return verbguard.guard(app, policies=POLICIES, principal=clerk)


def clerk(request: Any) -> bytes:
    """Whom a key belongs to: the clerk that the gateway in front of this service names, or else the office."""
    headers: dict[bytes, bytes] = dict(request.headers)
    return headers.get(b"x-clerk", b"office")


def connection() -> sqlite3.Connection:
    """The database connection of this request."""
    db: sqlite3.Connection | None = g.get("connection")
    if db is None:
        db = g.connection = sqlite3.connect(current_app.config["DATABASE"])
        db.row_factory = sqlite3.Row
    return db


def disconnect(_error: BaseException | None) -> None:
    if "connection" in g:
        g.pop("connection").close()


def write(statement: str, *values: object) -> sqlite3.Cursor:
    """Run one statement and commit it."""
    with connection() as db:
        return db.execute(statement, values)


def find(customer_id: int) -> dict[str, Any]:
    row = connection().execute("SELECT * FROM customers WHERE id = ?", (customer_id,)).fetchone()
    if row is None:
        abort(404)
    return dict(row)


def sent(*fields: str) -> list[str]:
    """The fields of the JSON object in the request, or 422 when one is not there."""
    document = request.get_json()
    missing = [field for field in fields if not isinstance(document.get(field), str)]
    if missing:
        abort(422, f"missing: {', '.join(missing)}")
    return [document[field] for field in fields]


@customers.get("")
def listing() -> ResponseReturnValue:
    rows = connection().execute("SELECT id, name FROM customers ORDER BY id")
    return [dict(row) for row in rows]


@customers.post("")
def create() -> ResponseReturnValue:
    number = write("INSERT INTO customers (name, email) VALUES (?, ?)", *sent("name", "email")).lastrowid
    return find(number or 0), 201


@customers.get("/<int:customer_id>")
def show(customer_id: int) -> ResponseReturnValue:
    return find(customer_id)


@customers.put("/<int:customer_id>")
def replace(customer_id: int) -> ResponseReturnValue:
    find(customer_id)
    values = sent("name", "email")
    write("UPDATE customers SET name = ?, email = ?, writes = writes + 1 WHERE id = ?", *values, customer_id)
    return find(customer_id)


@customers.patch("/<int:customer_id>")
def amend(customer_id: int) -> ResponseReturnValue:
    merged = find(customer_id) | request.get_json(force=True)  # merge-patch+json is JSON by another name
    values = (merged["name"], merged["email"], customer_id)
    write("UPDATE customers SET name = ?, email = ?, writes = writes + 1 WHERE id = ?", *values)
    return find(customer_id)


@customers.delete("/<int:customer_id>")
def remove(customer_id: int) -> ResponseReturnValue:
    find(customer_id)
    write("DELETE FROM customers WHERE id = ?", customer_id)
    return "", 204


@customers.get("/<int:customer_id>/address")
def address(customer_id: int) -> ResponseReturnValue:
    return {"address": find(customer_id)["address"]}


@customers.put("/<int:customer_id>/address")
def move(customer_id: int) -> ResponseReturnValue:
    find(customer_id)
    write("UPDATE customers SET address = ?, writes = writes + 1 WHERE id = ?", *sent("address"), customer_id)
    return "", 204


@customers.post("/<int:customer_id>/merge")
def merge(customer_id: int) -> ResponseReturnValue:
    """Let this customer take over the newest other one."""
    find(customer_id)
    other = connection().execute("SELECT max(id) FROM customers WHERE id <> ?", (customer_id,)).fetchone()[0]
    if other is None:
        abort(409, "there is no other customer")
    write("DELETE FROM customers WHERE id = ?", other)
    write("UPDATE customers SET writes = writes + 1 WHERE id = ?", customer_id)
    return find(customer_id) | {"merged": other}
