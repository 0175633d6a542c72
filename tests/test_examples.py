"""The examples, over real sockets: each is started by the command its docstring gives, and keeps the promises."""

from __future__ import annotations

import http.client
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from started import GATEWAY, PATIENCE, Answer, Service, serving

# ---------------------------------------------------------------------------------------------- orders, on FastAPI
ADA = "Bearer ada-1"
SOUP = {"lines": {"soup": 2}}
TEA = {"lines": {"tea": 1}}


@pytest.fixture(scope="module")
def orders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    database = tmp_path_factory.mktemp("orders") / "orders.db"
    command = ("uvicorn", "--host=127.0.0.1", "--port=0", "examples.orders_fastapi:app")
    with serving(*command, ORDERS_DB=str(database)) as service:
        yield service


def place(orders: Service, key: str, cart: object = SOUP, authorization: str = ADA) -> Answer:
    return orders.ask("POST", "/orders", cart, authorization=authorization, idempotency_key=key)


def test_orders_refuse_put_on_the_collection(orders: Service) -> None:
    """PUT on the list of orders is 405 with a complete Allow and changes nothing."""
    before = orders.ask("GET", "/orders", authorization=ADA).data
    for path in ("/orders", "/%6frders", "/orders?all=1"):
        answer = orders.ask("PUT", path, [SOUP], authorization=ADA)
        assert answer.status == 405
        assert answer.allow == {"GET", "HEAD", "OPTIONS", "POST"}
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.data["rule"] == "put-no-collection"
    assert orders.ask("GET", "/orders", authorization=ADA).data == before


def test_an_order_sent_twice_is_one_order(orders: Service) -> None:
    """POST with a key twice makes one row; both answers are 201 with a Location that can be read."""
    first, second = place(orders, '"twice"'), place(orders, '"twice"')
    assert (first.status, second.status) == (201, 201)
    assert (first.replayed, second.replayed) == (False, True)
    assert first.content == second.content
    assert first.headers["location"] == second.headers["location"] == f"/orders/{first.data['id']}"
    assert orders.ask("GET", first.headers["location"], authorization=ADA).data == first.data
    rows = orders.ask("GET", "/orders", authorization=ADA).data
    assert [row["id"] for row in rows].count(first.data["id"]) == 1


def test_twenty_orders_at_once_are_one_order(orders: Service) -> None:
    """The same keyed POST from twenty clients at once makes one row."""
    before = len(orders.ask("GET", "/orders", authorization=ADA).data)
    with ThreadPoolExecutor(20) as clients:
        answers = list(clients.map(lambda _: place(orders, '"crowd"'), range(20)))
    assert len(orders.ask("GET", "/orders", authorization=ADA).data) == before + 1
    assert {answer.status for answer in answers} <= {201, 409}
    assert len({answer.content for answer in answers if answer.status == 201}) == 1
    assert all("retry-after" in answer.headers for answer in answers if answer.status == 409)


def test_an_order_needs_a_key_of_its_own(orders: Service) -> None:
    """Without a key 400; a key used for another order 422, and the first order stays as it was."""
    missing = orders.ask("POST", "/orders", SOUP, authorization=ADA)
    assert (missing.status, missing.data["rule"]) == (400, "idem-key-missing-400")
    first = place(orders, '"own"')
    reused = place(orders, '"own"', TEA)
    assert (reused.status, reused.data["rule"]) == (422, "idem-key-reuse-422")
    assert place(orders, '"own"').content == first.content


def test_a_key_belongs_to_the_customer_and_not_to_the_token(orders: Service) -> None:
    """A renewed token finds its customer's answer; another customer's equal key is another order."""
    ada = place(orders, '"mine"')
    renewed = place(orders, '"mine"', authorization="Bearer ada-2")
    bob = place(orders, '"mine"', authorization="Bearer bob-1")
    assert renewed.replayed
    assert renewed.content == ada.content
    assert not bob.replayed
    assert bob.data["id"] != ada.data["id"]


def test_a_change_sent_twice_runs_once(orders: Service) -> None:
    """A repeated PUT gets the first answer, and the handler runs once; A-B-A ends at A."""
    path = place(orders, '"changing"').headers["location"]
    first = orders.ask("PUT", path, TEA, authorization=ADA)
    second = orders.ask("PUT", path, TEA, authorization=ADA)
    assert (first.status, second.status) == (200, 200)
    assert (first.replayed, second.replayed) == (False, True)
    assert orders.ask("GET", path, authorization=ADA).data["revision"] == 2
    orders.ask("PUT", path, SOUP, authorization=ADA)
    last = orders.ask("PUT", path, TEA, authorization=ADA)
    assert not last.replayed
    now = orders.ask("GET", path, authorization=ADA).data
    assert (now["revision"], now["lines"]) == (4, TEA["lines"])


def test_a_payment_sent_twice_is_one_payment(orders: Service) -> None:
    """The second try gets the receipt of the first; a new payment is the application's own 409."""
    path = place(orders, '"paying"').headers["location"]
    pay = f"{path}/pay"
    first = orders.ask("POST", pay, authorization=ADA, idempotency_key='"pay"')
    second = orders.ask("POST", pay, authorization=ADA, idempotency_key='"pay"')
    again = orders.ask("POST", pay, authorization=ADA, idempotency_key='"pay again"')
    assert (first.status, second.status, again.status) == (200, 200, 409)
    assert second.replayed
    assert first.data == second.data
    assert orders.ask("DELETE", path, authorization=ADA).status == 409


def test_a_stranger_is_sent_away_by_the_application(orders: Service) -> None:
    """What needs no key reaches the application's own 401, each time anew."""
    path = place(orders, '"private"').headers["location"]
    for _ in range(2):
        answer = orders.ask("PUT", path, TEA)
        assert (answer.status, answer.replayed) == (401, False)
    assert orders.ask("GET", path, authorization=ADA).data["revision"] == 1


def test_orders_answer_head_and_options(orders: Service) -> None:
    """HEAD is GET without content, OPTIONS lists the methods, though FastAPI has neither."""
    path = place(orders, '"looking"').headers["location"]
    read, head = orders.ask("GET", path, authorization=ADA), orders.ask("HEAD", path, authorization=ADA)
    assert (head.status, head.content) == (200, b"")
    assert head.headers["content-type"] == read.headers["content-type"]
    options = orders.ask("OPTIONS", path)
    assert options.status in (200, 204)
    assert options.allow == {"DELETE", "GET", "HEAD", "OPTIONS", "PUT"}


# ------------------------------------------------------------------------------------------- customers, on Flask
LOVELACE = {"name": "Ada", "email": "ada@example.org"}
RENAMED = {"name": "Ada L.", "email": "ada@example.org"}


@pytest.fixture(scope="module", params=["flask", "waitress"])
def customers(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    database = tmp_path_factory.mktemp("customers") / "customers.db"
    command = {
        "flask": ("flask", "--app=examples.customers_flask", "run", "--port=0"),
        "waitress": ("waitress", "--listen=127.0.0.1:0", "--call", "examples.customers_flask:create_app"),
    }[request.param]
    with serving(*command, CUSTOMERS_DB=str(database)) as service:
        yield service


def test_customers_refuse_put_on_the_collection(customers: Service) -> None:
    """PUT on the list of customers is 405 with a complete Allow."""
    answer = customers.ask("PUT", "/customers", [LOVELACE])
    assert (answer.status, answer.data["rule"]) == (405, "put-no-collection")
    assert answer.allow == {"GET", "HEAD", "OPTIONS", "POST"}


def test_a_new_customer_says_where_it_is(customers: Service) -> None:
    """201 carries a Location that can be read; a POST with a key twice makes one row."""
    first = customers.ask("POST", "/customers", LOVELACE, idempotency_key="new-customer")
    second = customers.ask("POST", "/customers", LOVELACE, idempotency_key="new-customer")
    assert (first.status, second.status, second.replayed) == (201, 201, True)
    assert first.headers["location"] == second.headers["location"] == f"/customers/{first.data['id']}"
    assert customers.ask("GET", first.headers["location"]).data == first.data
    ids = [row["id"] for row in customers.ask("GET", "/customers").data]
    assert ids.count(second.data["id"]) == 1
    assert len(ids) == len(set(ids))


def test_a_customer_without_a_key_is_a_new_one_each_time(customers: Service) -> None:
    """POST without a key promises nothing, so nothing is replayed."""
    first, second = (customers.ask("POST", "/customers", LOVELACE) for _ in range(2))
    assert first.headers["location"] != second.headers["location"]


def test_a_replacement_sent_twice_runs_once(customers: Service) -> None:
    """A repeated PUT runs the handler once, on an item and on a singleton; a PATCH in between counts."""
    path = customers.ask("POST", "/customers", LOVELACE).headers["location"]
    answers = [customers.ask("PUT", path, RENAMED) for _ in range(3)]
    assert [answer.replayed for answer in answers] == [False, True, True]
    moves = [customers.ask("PUT", f"{path}/address", {"address": "London"}) for _ in range(2)]
    assert [(answer.status, answer.replayed) for answer in moves] == [(204, False), (204, True)]
    assert customers.ask("GET", path).data["writes"] == 3
    assert customers.ask("PATCH", path, {"name": "A."}, content_type="application/merge-patch+json").status == 200
    assert not customers.ask("PUT", path, RENAMED).replayed
    assert customers.ask("GET", path).data["name"] == RENAMED["name"]


def test_a_merge_needs_a_key_and_happens_once(customers: Service) -> None:
    """The action refuses to run without a key, and runs once with one."""
    path = customers.ask("POST", "/customers", LOVELACE).headers["location"]
    for _ in range(2):
        customers.ask("POST", "/customers", LOVELACE)
    before = len(customers.ask("GET", "/customers").data)
    assert customers.ask("POST", f"{path}/merge").status == 400
    first, second = (customers.ask("POST", f"{path}/merge", idempotency_key='"merge"') for _ in range(2))
    assert (first.status, second.replayed, first.content) == (200, True, second.content)
    assert len(customers.ask("GET", "/customers").data) == before - 1


def test_customers_answer_head_and_options(customers: Service) -> None:
    """HEAD has the fields of GET and no content; OPTIONS lists the methods of the route."""
    path = customers.ask("POST", "/customers", LOVELACE).headers["location"]
    read, head = customers.ask("GET", path), customers.ask("HEAD", path)
    assert (head.status, head.content) == (200, b"")
    assert head.headers["content-length"] == read.headers["content-length"]
    assert customers.ask("OPTIONS", path).allow == {"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "PUT"}


def test_a_removed_customer_is_gone(customers: Service) -> None:
    """DELETE is 204 without content, and the PUT that follows is judged anew."""
    path = customers.ask("POST", "/customers", LOVELACE).headers["location"]
    customers.ask("PUT", path, RENAMED)
    gone = customers.ask("DELETE", path)
    assert (gone.status, gone.content) == (204, b"")
    late = customers.ask("PUT", path, RENAMED)
    assert (late.status, late.replayed) == (404, False)


# --------------------------------------------------------------------------------- the workshop's script of 2009
BOLT = {"name": "bolt", "stock": 40}
FEWER = {"name": "bolt", "stock": 39}
SERVERS = {
    "bare": ("waitress", "--listen=127.0.0.1:0", "examples.legacy_wsgi:application"),
    "wrapper": ("waitress", "--listen=127.0.0.1:0", "examples.legacy_guarded:application"),
    "serve": (
        *("verbguard", "serve", "examples.legacy_wsgi:application", "--config=examples/legacy.toml"),
        *("--host=127.0.0.1", "--port=0"),
    ),
    "gateway": ("examples.wsgi_service", "--port=0", "--upstream-port=0"),
}


@contextmanager
def workshop(server: str, folder: Path) -> Iterator[Service]:
    until = {"until": GATEWAY} if server == "gateway" else {}
    with serving(*SERVERS[server], **until, PARTS_DB=str(folder / "parts.db")) as service:
        yield service


@pytest.fixture(scope="module", params=["wrapper", "serve", "gateway"])
def parts(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with workshop(request.param, tmp_path_factory.mktemp("parts")) as service:
        yield service


def test_the_script_alone_keeps_no_promise(tmp_path: Path) -> None:
    """Without the guard each of these goes wrong: the tests below would notice if it did nothing."""
    with workshop("bare", tmp_path) as bare:
        created = bare.ask("POST", "/parts", BOLT)
        assert (created.status, created.headers.get("location")) == (201, None)
        for _ in range(2):
            bare.ask("PUT", "/parts/1", FEWER)
        assert bare.ask("GET", "/parts/1/movements").data == [39, 39]
        assert bare.ask("HEAD", "/parts/1").status == 405
        options = bare.ask("OPTIONS", "/parts/1")
        assert (options.status, options.allow) == (405, set())
        assert bare.ask("PUT", "/parts", []).status == 200
        assert bare.ask("GET", "/parts").data == []


def test_the_stock_list_cannot_be_replaced(parts: Service) -> None:
    """PUT on the list is refused before the script can empty its table."""
    before = parts.ask("POST", "/parts", BOLT).data
    answer = parts.ask("PUT", "/parts", [])
    assert (answer.status, answer.data["rule"]) == (405, "put-no-collection")
    assert answer.allow == {"GET", "HEAD", "OPTIONS", "POST"}
    assert before in parts.ask("GET", "/parts").data


def test_a_new_part_says_where_it_is(parts: Service) -> None:
    """201 carries Location; a POST with a key twice makes one row."""
    first, second = (parts.ask("POST", "/parts", BOLT, idempotency_key='"bolt"') for _ in range(2))
    assert (first.status, second.status, second.replayed) == (201, 201, True)
    assert first.headers["location"] == second.headers["location"] == f"/parts/{first.data['id']}"
    assert [row["id"] for row in parts.ask("GET", "/parts").data].count(first.data["id"]) == 1


def test_a_booking_sent_twice_is_booked_once(parts: Service) -> None:
    """A repeated PUT books one movement; A-B-A books all three and ends at A."""
    path = parts.ask("POST", "/parts", BOLT).headers["location"]
    answers = [parts.ask("PUT", path, FEWER) for _ in range(2)]
    assert [answer.replayed for answer in answers] == [False, True]
    assert parts.ask("GET", f"{path}/movements").data == [39]
    parts.ask("PUT", path, BOLT)
    parts.ask("PUT", path, FEWER)
    assert parts.ask("GET", f"{path}/movements").data == [39, 40, 39]
    assert parts.ask("GET", path).data["stock"] == 39


def test_the_script_answers_head_and_options(parts: Service) -> None:
    """HEAD comes from the script's GET, OPTIONS from the policies, and 405 says what is allowed."""
    path = parts.ask("POST", "/parts", BOLT).headers["location"]
    head = parts.ask("HEAD", path)
    assert (head.status, head.content, head.headers["content-type"]) == (200, b"", "application/json")
    options = parts.ask("OPTIONS", path)
    assert options.status in (200, 204)
    assert options.allow == {"DELETE", "GET", "HEAD", "OPTIONS", "PUT"}
    refused = parts.ask("PATCH", path, {})
    assert (refused.status, refused.allow) == (405, {"DELETE", "GET", "HEAD", "OPTIONS", "PUT"})


def test_the_scripts_204_carries_nothing(parts: Service) -> None:
    """The text behind the 204 is taken off, so that the connection stays in step."""
    path = parts.ask("POST", "/parts", BOLT).headers["location"]
    connection = http.client.HTTPConnection("127.0.0.1", parts.port, timeout=PATIENCE)
    try:
        connection.request("DELETE", path)
        gone = connection.getresponse()
        assert (gone.status, gone.read()) == (204, b"")
        assert gone.getheader("content-length") is None
        connection.request("GET", "/parts")
        assert connection.getresponse().status == 200
    finally:
        connection.close()


# -------------------------------------------------------------------------------------------- exactly once, on SQLAlchemy
@pytest.fixture
def wallet(tmp_path: Path) -> Path:
    return tmp_path / "wallet.db"


@contextmanager
def open_wallet(database: Path) -> Iterator[Service]:
    command = ("uvicorn", "--host=127.0.0.1", "--port=0", "examples.exactly_once:app")
    with serving(*command, WALLET_DB=str(database)) as service:
        yield service


RENT = {"source": "ada", "target": "bob", "cents": 70_000}


def test_a_transfer_happens_once_also_over_a_restart(wallet: Path) -> None:
    """The same key moves the money once, at one server and at the next; another key finds the account too empty."""
    with open_wallet(wallet) as service:
        first, second = (service.ask("POST", "/transfers", RENT, idempotency_key="rent", host="wallet") for _ in range(2))
        assert (first.status, second.status, first.replayed, second.replayed) == (201, 201, False, True)
        assert first.headers["location"] == second.headers["location"] == "/transfers/1"
        assert service.ask("GET", "/transfers/1").data == first.data
    with open_wallet(wallet) as service:
        third = service.ask("POST", "/transfers", RENT, idempotency_key="rent", host="wallet")
        assert (third.status, third.replayed, third.content) == (201, True, first.content)
        assert service.ask("POST", "/transfers", RENT, idempotency_key="more rent").status == 422
        assert service.ask("POST", "/transfers", RENT).status == 400
        balances = [service.ask("GET", f"/accounts/{name}").data["cents"] for name in ("ada", "bob")]
        assert balances == [30_000, 170_000]


def test_the_answer_of_a_transfer_outlives_what_the_guard_knows(wallet: Path) -> None:
    """The guard's own file is lost, and with it every claim: the answer is in the wallet, so the money stays where it is."""
    with open_wallet(wallet) as service:
        first = service.ask("POST", "/transfers", RENT | {"cents": 1}, idempotency_key="gone", host="wallet")
    for file in wallet.parent.glob("wallet.db.replay*"):
        file.unlink()
    with open_wallet(wallet) as service:
        again = service.ask("POST", "/transfers", RENT | {"cents": 1}, idempotency_key="gone", host="wallet")
        assert (again.status, again.content, again.replayed) == (201, first.content, True)
        assert service.ask("GET", "/accounts/ada").data["cents"] == 99_999
