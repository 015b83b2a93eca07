#!/usr/bin/env bash
# A Slurm array over a shared folder. Plan once, then submit the array, then finalize when it has ended:
#
#   fvcli plan photos -o features
#   job=$(sbatch --parsable --array=1-8 docs/examples/slurm.sh)
#   sbatch --dependency=afterany:$job --wrap 'fvcli finalize features'
#
# A task that was killed is submitted again on its own (--array=3); it repeats at most its unfinished shard.
#SBATCH --job-name=fvcli
#SBATCH --cpus-per-task=4
#SBATCH --mem=2G
#SBATCH --time=04:00:00
set -u
fvcli extract -o "${FEATURES:-features}" --task "$SLURM_ARRAY_TASK_ID/$SLURM_ARRAY_TASK_COUNT" --quiet
code=$?
# 3: some of its images have no vector; finalize lists them.
test "$code" -eq 3 || exit "$code"
