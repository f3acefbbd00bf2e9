"""The benchmark suite for pointing models that needs no data: drawn screens and MiniWoB++."""
