"""Validators: what an answer says about the state that it shows."""

from __future__ import annotations
