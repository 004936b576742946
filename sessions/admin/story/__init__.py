"""The story of a session or a turn: its events on one time line, with the rows that belong to each."""
