"""Engines: where the members of an ensemble run."""
