"""Documents that a runner writes into its test's ConfigMap."""

import logging
from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import ValidationError

from diffusion_operator.documents.load_report import LoadProgress, LoadReport

logger = logging.getLogger(__name__)

REPORT_KEY = "report.json"
PROGRESS_KEY = "progress.json"

M = TypeVar("M", LoadProgress, LoadReport)


def access_name(test: Mapping[str, Any]) -> str:
    """Name of the runner's ServiceAccount, Role and RoleBinding, and of the report's ConfigMap."""
    return f"{test['metadata']['name']}-loadtest"


def document(model: type[M], config_map: Mapping[str, Any], key: str) -> M | None:
    """Document of the ConfigMap, if it is of a known version."""
    text = (config_map.get("data") or {}).get(key)
    if text is None:
        return None
    try:
        return model.model_validate_json(text)
    except ValidationError:
        # The traceback could contain prompts.
        logger.error("%s is a document of an unknown version", key)  # noqa: TRY400
        return None
