#!/bin/sh
# Submit a run to a Ray cluster. Usage: RAY_ADDRESS=http://head:8265 sh ray_job.sh RECIPE [key=value ...]
# The cluster's machines need molmo-agent[train]; submitting needs ray[default] here and on the cluster's head. WORKERS is
# the number of GPUs to use; --accelerator gpu waits until there are as many, and refuses to train without.
set -eu
recipe=$1
shift
exec ray job submit --address "${RAY_ADDRESS:-http://127.0.0.1:8265}" -- \
  agent train "$recipe" "$@" --address auto --workers "${WORKERS:-8}" --out "${OUT:-/shared/runs/$recipe}"
