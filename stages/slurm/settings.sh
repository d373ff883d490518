# Read by the job scripts, on their nodes: what a run is made of, and what a site needs. docs/cluster.md explains it.
# Every value can be set from outside, as in `RUN=mine PRESET=workstation stages/slurm/chain`.
# shellcheck shell=bash disable=SC2034

# The run, as in the Makefile.
RUN=${RUN:-default}
PRESET=${PRESET:-workstation}
SEED=${SEED:-0}
DATA=${DATA:-}                    # clips of your own; empty: the simulator makes some
ROOT=${ROOT:-data/artifacts}      # on a disk that all nodes see
ARGS=${ARGS:-}                    # further settings, e.g. "--scene.trainer.max_steps 1000"; words without spaces

# The site. SFVD runs in the job's first node and decides what is to be done; CONTAINER goes before everything that is
# started on the nodes, e.g. "apptainer exec --nv --bind /data sfvd.sif", whose Python is CONTAINER_PYTHON. What can't be said in a line goes in SITE, a
# file of yours that is read here: `module load`, variables of NCCL, further options in SRUN_OPTIONS.
SFVD=${SFVD:-.venv/bin/sfvd}
CONTAINER=${CONTAINER:-}
CONTAINER_PYTHON=${CONTAINER_PYTHON:-python3}
SITE=${SITE:-}
SRUN_OPTIONS=${SRUN_OPTIONS:-}
if [ -n "$SITE" ]; then
    # shellcheck source=/dev/null
    . "$SITE"
fi

export CONTAINER CONTAINER_PYTHON SRUN_OPTIONS
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
export PYTHONUNBUFFERED=1
# srun no longer takes this from sbatch by itself, and without it each process has one core.
export SRUN_CPUS_PER_TASK=${SLURM_CPUS_PER_TASK:-1}

# Words that are the same for every stage.
settings=(--run "$RUN" --root "$ROOT" --preset "$PRESET" --seed "$SEED")
if [ -n "$DATA" ]; then settings+=(--data "$DATA"); fi
settings+=(--devices "${SLURM_NTASKS_PER_NODE:-1}" --nodes "${SLURM_JOB_NUM_NODES:-1}" --launcher stages/slurm/launch)
# shellcheck disable=SC2206
settings+=($ARGS)
# shellcheck disable=SC2206
sfvd=($SFVD)

echo "== ${SLURM_JOB_NAME:-sfvd} ${SLURM_JOB_ID:-} on ${SLURM_JOB_NODELIST:-this machine}, attempt $((${SLURM_RESTART_COUNT:-0} + 1))," \
    "$(date '+%F %T')"
