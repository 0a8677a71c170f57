"""The operators' kernels in Triton: for GPUs that have no compiled kernels.

Kernels come in the families of the compiled ones: moments, gates, shifts, refinement, residuals,
and batch norm on the small tensors between passes. A module holds the kernels of a family, and
below them the functions that launch them: one for every registered operator. `installation`
registers those; it needs no Triton until one of them runs.
"""
