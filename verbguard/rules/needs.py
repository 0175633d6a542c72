"""Status codes that need something: a field of the answer, or something that the request said."""

from __future__ import annotations
