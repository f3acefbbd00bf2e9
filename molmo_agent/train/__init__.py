"""Make the models that point: data, objectives, the loop, evaluation."""
