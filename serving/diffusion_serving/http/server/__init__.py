"""uvicorn as the server of the application: its life, and a bound on request heads."""
