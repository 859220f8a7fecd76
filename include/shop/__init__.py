"""Where raw data comes from: the demo shop, and the loader that mirrors a folder of CSV files."""
