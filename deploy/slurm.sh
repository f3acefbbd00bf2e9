#!/bin/bash
#SBATCH --job-name=molmo
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=64
#SBATCH --requeue
#SBATCH --signal=TERM@120
# One torchrun per node, one rank per GPU. A run that is requeued goes on: SIGTERM comes two minutes before the end and
# makes it write a checkpoint. Usage: sbatch slurm.sh RECIPE [key=value ...]
set -eu
head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
srun --kill-on-bad-exit=1 torchrun \
  --nnodes "$SLURM_NNODES" --nproc-per-node 8 \
  --rdzv-backend c10d --rdzv-endpoint "$head:29500" --rdzv-id "$SLURM_JOB_ID" \
  -m molmo_agent train "$@" --out "${OUT:-/shared/runs/$1}"
