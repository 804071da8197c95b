"""The engines that `bench.embed` compares.

Each runs in a process of its own (`serve`), some in a virtual environment of their own. So `common`, `libraries`,
`serve`, `export` and `multiply` import nothing of `worker` until they need it.
"""
