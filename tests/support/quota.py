"""A quota that holds from its first moment on."""

from kubectl import Kubectl, KubectlError, eventually

NAME = "none"


def limit(kubectl: Kubectl, hard: str, *attempt: str) -> None:
    """Make a quota such as ``pods=0``, and wait until it refuses the attempt, which makes nothing.

    Its status is there a moment before admission knows of it, so only a refusal tells.
    """
    kubectl("create", "quota", NAME, f"--hard={hard}")

    def holds() -> bool:
        try:
            kubectl(*attempt, "--dry-run=server")
        except KubectlError as error:
            return "exceeded quota" in str(error)
        return False

    eventually(holds, what="the quota to hold")
