"""The seams: what a provider, a sink and an overlap are, and how they are found."""
