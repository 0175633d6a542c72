"""Negotiation and preferences."""

from __future__ import annotations
