"""Clean-up in the background: how its parts share a run, work in pieces, and survive an item that fails."""
