"""The four built-in overlaps: dual, alternating, grace, cutover. Each is a plugin that sees the public API only."""
