"""Frameworks' own routers, read and asked: all knowledge of their route tables is here."""
