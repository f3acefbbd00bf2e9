"""`agent eval`: the benchmarks, and evaluations with tables of their own."""
