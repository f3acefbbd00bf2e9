"""Rolling out a policy in an env: the loop, guards, records, and views of them."""
