"""DELETE: it removes the association between the target and its functionality."""

from __future__ import annotations
