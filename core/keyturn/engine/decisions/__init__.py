"""What to do next, and why: `decide` and the steps it walks through. Pure."""
