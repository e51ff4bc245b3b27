"""The documents that cross a process boundary, as this side of each boundary sees them."""
