"""What models need that fit on no single device: sharding, start-up by shards, and a plan of the GPUs."""
