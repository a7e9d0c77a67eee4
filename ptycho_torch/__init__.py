"""PtychoPINN in PyTorch: data contract, simulation, physics, networks, training and evaluation.

The package knows nothing of batch systems. A launcher enters it by three doors: `config` and `npz_contract`, which import
no torch, and `pipeline`, which does the work.
"""
