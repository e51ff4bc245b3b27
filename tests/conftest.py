"""Settings for the tests of every tier."""

import pytest

# The module holds tests: a failed assert shows its values only where pytest rewrites it.
pytest.register_assert_rewrite("http_surface")
