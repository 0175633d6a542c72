"""Several server processes on one shared store: how they are started, asked, stopped and killed, and what they serve."""
