"""Fields of an answer that are looked at whatever its status."""

from __future__ import annotations
