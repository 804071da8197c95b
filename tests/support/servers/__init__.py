"""Imitations of servers that are not available, on the loopback; and llama.cpp, which is the real one."""
