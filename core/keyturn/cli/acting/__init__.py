"""What the acting commands do, and what they say is true afterwards."""
