"""What people write without this project, each as its framework's documentation shows it."""
