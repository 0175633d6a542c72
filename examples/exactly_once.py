"""A wallet on FastAPI, SQLAlchemy 2 and SQLite: a transfer happens exactly once, also when the server is killed in the middle.

Run it from the repository; accounts are in wallet.db, the guard's claims in another file beside it (WALLET_DB names the first):

    uvicorn examples.exactly_once:app

Transfer, and transfer again with the same key: the money moves once, and the second answer says Idempotent-Replayed: true:

    curl -i localhost:8000/transfers -H 'Idempotency-Key: "rent"' -H 'Content-Type: application/json' \
        -d '{"source": "ada", "target": "bob", "cents": 70000}'
    curl localhost:8000/accounts/ada

Now `kill -9` the server as often as you like, start it again and repeat the request: `record_in` has put the answer into the
transaction that moved the money, so there are both or neither.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Annotated

from fastapi import Depends, FastAPI, HTTPException, Response
from pydantic import BaseModel, PositiveInt
from sqlalchemy import ForeignKey, create_engine, update
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

import verbguard
from verbguard import Replay, collection, guarded

DATABASE = os.environ.get("WALLET_DB", "wallet.db")
engine = create_engine(f"sqlite:///{DATABASE}", connect_args={"timeout": 10})


class Base(DeclarativeBase):
    """Tables of the wallet. `record_in` makes one of its own beside them, verbguard_answers."""


class Account(Base):
    """Who has how much."""

    __tablename__ = "accounts"
    name: Mapped[str] = mapped_column(primary_key=True)
    cents: Mapped[int]


class Transfer(Base):
    """What was moved."""

    __tablename__ = "transfers"
    id: Mapped[int] = mapped_column(primary_key=True)
    source: Mapped[str] = mapped_column(ForeignKey("accounts.name"))
    target: Mapped[str] = mapped_column(ForeignKey("accounts.name"))
    cents: Mapped[int]


class Order(BaseModel):
    """What a client asks for."""

    source: str
    target: str
    cents: PositiveInt


class Receipt(Order):
    """What a client gets."""

    id: int


def session() -> Iterator[Session]:
    with Session(engine) as opened:
        yield opened


Database = Annotated[Session, Depends(session)]

app = FastAPI(title="Wallet")
Base.metadata.create_all(engine)
with Session(engine) as _session:
    for _name in ("ada", "bob"):
        if _session.get(Account, _name) is None:
            _session.add(Account(name=_name, cents=100_000))
    _session.commit()


def account(db: Session, name: str) -> Account:
    found = db.get(Account, name)
    if found is None:
        raise HTTPException(404, f"there is no account {name}")
    return found


# A transaction is all that this handler does, and of its runs for one key only one can commit: after a crash it may run again.
@app.post("/transfers", status_code=201)
@guarded(collection(location="/transfers/{id}", replay=Replay(required=True, after_crash="rerun")))
def transfer(order: Order, db: Database) -> Response:
    for name in (order.source, order.target):
        account(db, name)
    # The database looks and subtracts at once: two transfers at the same time cannot both spend the last cent.
    enough = (Account.name == order.source) & (Account.cents >= order.cents)
    if not db.execute(update(Account).where(enough).values(cents=Account.cents - order.cents)).rowcount:
        raise HTTPException(422, "not enough money")
    db.execute(update(Account).where(Account.name == order.target).values(cents=Account.cents + order.cents))
    made = Transfer(**order.model_dump())
    db.add(made)
    db.flush()
    receipt = Receipt(id=made.id, **order.model_dump()).model_dump_json()
    verbguard.current().record_in(db, 201, {"Content-Type": "application/json"}, receipt)
    db.commit()
    return Response(receipt, 201, media_type="application/json")


@app.get("/transfers/{transfer_id}")
def show(transfer_id: int, db: Database) -> Receipt:
    made = db.get(Transfer, transfer_id)
    if made is None:
        raise HTTPException(404)
    return Receipt(id=made.id, source=made.source, target=made.target, cents=made.cents)


@app.get("/accounts/{name}")
def balance(name: str, db: Database) -> dict[str, int]:
    return {"cents": account(db, name).cents}


verbguard.guard(app, store=f"sqlite:///{DATABASE}.replay")
