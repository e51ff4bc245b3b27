"""A load test's report, as a page, a table or plain data."""
