"""Status, a pure function of what is observed: one module a kind, the only place it is decided."""
