"""How a record becomes the bytes that a shared store keeps: framed, and encrypted where there is a key."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from hashlib import sha256
from secrets import token_bytes
from struct import Struct
from typing import Any

from verbguard.errors import ConfigError
from verbguard.records import Record, State

__all__ = ["Sealer", "digest_of", "new_key", "status_of"]

_HEAD = Struct("<BBH4s12s")  # version, state, status, which key, nonce; the encrypted rest follows
_VERSION = 2  # what `Record.pack` makes begins with 1
_SIZES = (16, 24, 32)


@lru_cache(1_024)  # a run asks for it at its start and at its end
def digest_of(ident: bytes) -> bytes:
    """The name under which a shared store keeps what belongs to an ident: no key of a client can be read in it."""
    return sha256(ident).digest()


def status_of(data: bytes) -> int:
    """The status of a sealed answer, which stands in clear at one place in both layouts."""
    return int.from_bytes(data[2:4], "little")


def new_key() -> str:
    """A new encryption key, as the configuration spells it: 64 hexadecimal digits, for AES-256."""
    return token_bytes(32).hex()


class Sealer:
    """Packs records, and opens them again.

    With `keys` (hexadecimal, 32, 48 or 64 digits) an answer is encrypted by AES-GCM with the first of them and can be opened
    with each: to rotate, put a new one in front, and take the old one out when what it encrypted has expired. An answer is
    bound to its name, the digest of the ident that it was kept for. What cannot be opened is told as an answer that was given
    and cannot be repeated, never as one that is not there. Raises ConfigError for what is no key, and without `cryptography`.
    """

    def __init__(self, keys: Sequence[str] = ()) -> None:
        self._ciphers: dict[bytes, Any] = {}
        self._first = b""
        if isinstance(keys, (str, bytes)):
            raise ConfigError("encryption keys: a sequence of keys, the newest first")
        for number, key in enumerate(keys, 1):
            self._add(key, number)

    def _add(self, key: str, number: int) -> None:
        try:
            secret = bytes.fromhex(key)
        except (TypeError, ValueError):
            secret = b""
        if len(secret) not in _SIZES:
            raise ConfigError(f"encryption key {number}: 32, 48 or 64 hexadecimal digits; `verbguard store key` makes one")
        try:
            from cryptography.hazmat.primitives.ciphers.aead import AESGCM
        except ImportError:
            raise ConfigError("answers are encrypted by `cryptography`: pip install 'verbguard[crypto]'") from None
        name = sha256(b"verbguard key " + secret).digest()[:4]
        self._ciphers[name] = AESGCM(secret)
        self._first = self._first or name

    def seal(self, record: Record, name: bytes) -> bytes:
        """The record as bytes. Raises ValueError for field lines that cannot be framed."""
        packed = record.pack()
        if not self._first:
            return packed
        nonce = token_bytes(12)
        head = _HEAD.pack(_VERSION, record.state, record.status, self._first, nonce)
        return head + bytes(self._ciphers[self._first].encrypt(nonce, packed, head + name))

    def open(self, data: bytes, name: bytes) -> Record:
        """The record that `seal` made for this name."""
        if data[:1] != b"\x02":
            try:
                return Record.unpack(data)
            except ValueError:  # written by a later version
                return Record(0, [], b"", State.SEALED)
        if len(data) < _HEAD.size:  # what somebody made of it is no answer, and no failure of the store either
            return Record(0, [], b"", State.SEALED)
        _, _, status, key, nonce = _HEAD.unpack_from(data)
        cipher = self._ciphers.get(key)
        try:
            if cipher is not None:
                return Record.unpack(cipher.decrypt(nonce, data[_HEAD.size :], data[: _HEAD.size] + name))
        except Exception:  # cryptography says InvalidTag, and a forged record may hold anything
            pass
        return Record(status, [], b"", State.SEALED)
