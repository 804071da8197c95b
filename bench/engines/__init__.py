"""The engines that `bench.embed` compares, one module each.

Each runs in a process of its own (`serve`), some in a virtual environment of their own, so a module here imports
nothing of `worker`, except `ours`.
"""
