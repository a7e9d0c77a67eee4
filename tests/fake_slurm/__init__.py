"""A stateful Slurm at the process boundary, for tests: `from fake_slurm.cluster import FakeSlurm`.

Nothing is imported here: the commands are processes of their own and must start in milliseconds.
"""
