"""File formats that data sets come in: TFRecord, protocol buffers, JSON arrays, Parquet."""
