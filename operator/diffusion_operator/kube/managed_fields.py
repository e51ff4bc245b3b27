"""Field ownership: the entries of an object's ``managedFields``."""

from collections.abc import Sequence

from diffusion_operator.kube.objects import MANAGER, Object


def as_applied(entries: Sequence[Object]) -> Sequence[Object]:
    """Entries of ``managedFields`` with this operator's POST merged into its apply.

    Both entries exist where an older operator applied the object after the POST.
    """
    ours = [each for each in entries if each["manager"] == MANAGER and "subresource" not in each]
    if not any(each["operation"] == "Update" for each in ours):
        return entries
    fields: Object = {}
    for each in ours:
        fields = _united(fields, each.get("fieldsV1") or {})
    others = [each for each in entries if each not in ours]
    return [*others, {**ours[-1], "operation": "Apply", "fieldsV1": fields}]


def _united(fields: Object, more: Object) -> Object:
    """Union of both field trees."""
    shared = {name: _united(part, more[name]) for name, part in fields.items() if name in more}
    return {**fields, **more, **shared}
