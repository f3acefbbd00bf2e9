"""The images of data sets: download, storage, and one check of each."""
