"""A table in MuJoCo whose objects are picked and placed by points."""
