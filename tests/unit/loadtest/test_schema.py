import subprocess
import sys
from pathlib import Path

import diffusion_loadtest
from diffusion_loadtest.report.schema import report_schema

PACKAGE = Path(diffusion_loadtest.__file__).parent


def test_published_schema_is_that_of_the_report() -> None:
    published = PACKAGE.parent / "report.schema.json"
    assert published.read_text() == report_schema(), (
        "write it again: python -m diffusion_loadtest --schema > loadtest/report.schema.json"
    )


def test_plan_and_report_are_read_without_locust_or_a_cluster() -> None:
    code = (
        "import sys; import diffusion_loadtest.plan.load_plan, diffusion_loadtest.plan.schedule; "
        "import diffusion_loadtest.report.load_report, diffusion_loadtest.report.outcome; "
        "import diffusion_loadtest.report.publish; "
        "print(sorted({'locust', 'gevent', 'kubernetes', 'ssl'} & set(sys.modules)))"
    )
    completed = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": str(PACKAGE.parent)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert completed.stdout == "[]\n"
