"""What becomes of the results of a run: comparisons, costs, files for the Hub."""
