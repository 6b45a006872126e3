"""What the journal says of a secret, and what follows from it: events, the fold, receipts. Pure."""
