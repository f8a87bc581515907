"""Stand-ins for what cannot be reached everywhere, and the proof of every row with them."""
