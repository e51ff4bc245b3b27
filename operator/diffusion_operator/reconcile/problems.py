"""What to tell a person whose spec this operator can't read."""

from pydantic import ValidationError


def invalid_spec(error: ValidationError) -> str:
    """The first mistakes as a sentence; seen when the CRD and the operator differ in age."""
    mistakes = [
        f"spec.{'.'.join(str(part) for part in found['loc'])}: {found['msg']}"
        for found in error.errors()[:3]
    ]
    return "; ".join(mistakes) + " (are the CRDs and the operator of the same version?)"
