"""`rediss://` over real TLS. The servers that wheels carry are built without it, so a terminator stands before a real one."""

from __future__ import annotations

import asyncio
import datetime
import ipaddress
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from shared.redis_server import redis_server

from verbguard.errors import StoreError
from verbguard.records import Claim, Done, Record, Won, whole
from verbguard.stores import for_asyncio
from verbguard.stores import open as open_store

ANSWER = Record(201, [(b"location", b"/orders/7")], b"made")


def certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate for the loopback address that signs itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    shown, hidden = folder / "certificate.pem", folder / "key.pem"
    shown.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    plain = serialization.NoEncryption()
    hidden.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain))
    return shown, hidden


@contextmanager
def terminated(port: int, certificate: Path, key: Path) -> Iterator[int]:
    """A port that speaks TLS, and passes what it hears to `port`."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    listener = socket.create_server(("127.0.0.1", 0))
    loop = asyncio.new_event_loop()

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while piece := await reader.read(1 << 16):
                writer.write(piece)
                await writer.drain()
        writer.close()

    async def passed_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner, outer = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(copy(reader, outer), copy(inner, writer))

    async def serve(ended: asyncio.Event, started: threading.Event) -> None:
        server = await asyncio.start_server(passed_on, sock=listener, ssl=context)
        started.set()
        await ended.wait()
        server.close()
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    ended, started = asyncio.Event(), threading.Event()
    thread = threading.Thread(target=loop.run_until_complete, args=[serve(ended, started)], name="tls")
    thread.start()
    assert started.wait(10)
    try:
        yield listener.getsockname()[1]
    finally:
        loop.call_soon_threadsafe(ended.set)
        thread.join()
        loop.close()


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where a Redis speaks TLS, with the certificate that tells who it is."""
    shown, key = certificate(tmp_path_factory.mktemp("tls"))
    with redis_server() as server, terminated(server.port, shown, key) as port:
        yield f"rediss://127.0.0.1:{port}/0?ssl_ca_certs={shown}"


def order(name: str) -> Claim:
    return Claim(
        name.encode(), b"print", whole("/orders"), False, False, 10.0, 100.0, b"alice", name.encode(), "POST", "/orders"
    )


def test_a_store_over_tls_keeps_its_promises(url: str) -> None:
    store = open_store(url)
    try:
        won = store.claim(order("tls"))
        assert isinstance(won, Won)
        assert store.save(order("tls"), won.token, ANSWER)
        again = store.claim(order("tls"))
        assert isinstance(again, Done)
        assert (again.record.status, again.record.body) == (201, b"made")
    finally:
        store.close()  # type: ignore[attr-defined]


async def test_a_store_over_tls_can_be_awaited(url: str) -> None:
    store = for_asyncio(url)
    try:
        won = await store.claim(order("tls-async"))
        assert isinstance(won, Won)
        assert await store.save(order("tls-async"), won.token, ANSWER)
        assert isinstance(await store.claim(order("tls-async")), Done)
    finally:
        await store.aclose()


def test_a_stranger_is_not_believed_to_be_the_store(url: str) -> None:
    store = open_store(url.partition("?")[0])  # without the certificate nobody vouches for this server
    try:
        with pytest.raises(StoreError, match="CERTIFICATE_VERIFY_FAILED"):
            store.claim(order("stranger"))
    finally:
        store.close()  # type: ignore[attr-defined]


def test_what_speaks_no_tls_is_no_store(url: str) -> None:
    with redis_server() as server:
        store = open_store(f"rediss://127.0.0.1:{server.port}/0")
        try:
            with pytest.raises(StoreError):
                store.claim(order("plain"))
        finally:
            store.close()  # type: ignore[attr-defined]
