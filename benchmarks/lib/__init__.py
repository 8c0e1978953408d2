"""What the parts share: processes, contestants, load, comparison and report."""
