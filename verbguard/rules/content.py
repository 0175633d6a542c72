"""Request content: what it may be, how it is typed, coded and framed."""

from __future__ import annotations
