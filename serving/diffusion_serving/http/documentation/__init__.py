"""The description of the routes: the OpenAPI document and the page at /docs."""
