"""Rules over Terraform plans, which read facts of Google's documentation from a table.

A schema says which arguments a resource has. The facts say what no schema holds: the API that a
setting needs, the values that Google has shut down, the permissions of a role.
"""
