"""What several tests share; no module in here holds a test."""
