"""What holds for the tests of every tier."""

import pytest

# It holds tests, whose asserts are to tell what they saw as those of a test module do.
pytest.register_assert_rewrite("http_surface")
