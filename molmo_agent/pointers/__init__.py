"""Everything that answers "where is ...?": local models, servers, baselines, and what wraps them."""
