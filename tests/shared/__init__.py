"""The shared stores under test: their model in plain dictionaries, and the real servers that they must agree with."""
