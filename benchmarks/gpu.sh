#!/bin/sh
# Measure on one GPU, in under nine minutes, what no CPU can show; writes a JSON file.
#
#     benchmarks/gpu.sh [--dry-run] [--json FILE]
#
# --dry-run runs the same parts with tiny shapes on the CPU.
cd "$(dirname "$0")/.." || exit 1
PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}" exec "${PYTHON:-python}" benchmarks/gpu.py "$@"
