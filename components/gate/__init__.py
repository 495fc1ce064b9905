"""The release policy: pure functions that decide from counts whether a model may ship."""
