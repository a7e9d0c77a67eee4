"""Run deep-learning studies for ptychography on Slurm clusters: study, job matrix, executors, collector, manifest."""
