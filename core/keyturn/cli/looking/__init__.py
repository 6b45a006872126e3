"""What the looking commands answer. They read; only `escrow open` leaves a note in the journal."""
