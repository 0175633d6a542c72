"""PATCH: a change described by its content (RFC 5789)."""

from __future__ import annotations
