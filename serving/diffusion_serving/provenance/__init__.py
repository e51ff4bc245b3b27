"""Claims of pictures about their origin: marks, signatures, and the check of both."""
