"""Who runs the jobs: Slurm, this machine, or this process. Each hands a recorded submission over through submitit."""
