"""The report's published JSON schema."""

import json

from diffusion_loadtest.report.load_report import Report


def report_schema() -> str:
    """The JSON schema of `report.json`, as text that ends with a line break."""
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **Report.model_json_schema(by_alias=True, mode="serialization"),
    }
    return json.dumps(schema, indent=2) + "\n"
