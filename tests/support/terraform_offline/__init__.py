"""Checks of Terraform against the providers' schemas, without a provider registry.

The google and helm providers can only be downloaded from Terraform's registry. Their schemas are
also in the bindings that the CDK generates from them, which PyPI has. This package makes from the
bindings a provider that knows the schema and nothing else. `terraform validate`, `test` and `plan`
run with it, without the checks that only the real provider makes (names' patterns, conflicts,
quotas, IAM). With TERRAFORM_PROVIDERS=registry the tests use the real providers instead.
"""
