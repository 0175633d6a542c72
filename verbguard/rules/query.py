"""QUERY: a safe question whose content says what is asked (RFC 10008)."""

from __future__ import annotations
