"""Messages and files for the person at the terminal."""
