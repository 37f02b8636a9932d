"""What monitoring reads: figures, and what was asked of the pages."""
