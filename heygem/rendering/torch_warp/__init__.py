"""The pixels of `heygem.rendering.warp` for many frames at once, as PyTorch operations.

What is drawn where is computed on the CPU by the same code (`warp.geometry`); here are the
operations on pixels alone, those of `warp.mesh_warp.sample`, `warp.blend` and `warp.kernels`, for
any device that PyTorch has.
"""
