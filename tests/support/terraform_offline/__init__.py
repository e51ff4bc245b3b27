"""Terraform checked against the providers' schemas where no provider registry answers.

The google and helm providers can only be downloaded from Terraform's registry. Their schemas are
also in the bindings that the CDK generates from them, which PyPI has: from those a provider is made
that knows the schema and nothing else, so `terraform validate`, `test` and `plan` run as they
would, short of what only the real provider checks (names' patterns, conflicts, quotas, IAM). With
TERRAFORM_PROVIDERS=registry the real providers are used instead, and nothing here is.
"""
