"""Which inputs the long suites make: MUTATION_SEED in the environment, a number."""

import os

SEED = int(os.environ.get("MUTATION_SEED", "100"))
