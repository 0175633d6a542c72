"""Preconditions: requests that are meant for one state only (RFC 9110 section 13)."""

from __future__ import annotations
