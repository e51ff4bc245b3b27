"""Programs that people write without this project, as each framework's documentation shows."""
