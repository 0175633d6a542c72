"""Digests of content, and error bodies."""

from __future__ import annotations
