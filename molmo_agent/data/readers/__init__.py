"""One reader per family of data sets: files in, rows out."""
