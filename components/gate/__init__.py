"""The release policy: pure functions that decide over counts which model may ship.

The standard library alone is imported here, so that every other room can ask the gate. What each
check asks, and from which source its statistics are, stands in docs/gate.md.
"""
