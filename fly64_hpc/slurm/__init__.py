"""Slurm: its commands, the scripts and arrays that it gets, and what it says of them. Nothing else here calls it."""
