"""The stages of ``benchmarks/gpu.py``, each a module that runs in a process of its own."""
