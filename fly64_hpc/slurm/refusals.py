"""What to do about words with which Slurm refuses a job."""

import re

_ADVICE = (
    (
        r"invalid account|account/partition|invalid.*association",
        "Name another --account, or ask the centre whether your allocation has ended; "
        "`sacctmgr show assoc user=$USER format=account,partition,qos` lists what you may use.",
    ),
    (r"qos", "Name another --qos; `sacctmgr show assoc user=$USER format=account,qos` lists yours."),
    (r"invalid partition|partition.*(not available|inactive|down)", "Name another --partition; `sinfo --summarize` lists them."),
    (r"time limit|timelimit", "Ask for less with --time."),
    (r"invalid (generic resource|gres)", "`sinfo --format='%P %G'` shows what GPUs are called here; see resources.gres."),
    (r"invalid feature", "`sinfo --format='%P %f'` lists the features; change --constraint."),
    (
        r"memory|cpu count|node configuration",
        "No node has all of it: lower --gpus-per-node, --cpus-per-task, --mem or --constraint.",
    ),
    (r"job array", "The array is larger than MaxArraySize allows."),
)


def advice_for(words: str) -> str:
    """What a user may do after Slurm refused with these words."""
    known = (advice for pattern, advice in _ADVICE if re.search(pattern, words, re.IGNORECASE))
    return next(known, "Change the resources and submit again.")
