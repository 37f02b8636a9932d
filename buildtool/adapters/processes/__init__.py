"""Commands as real processes: started, watched, limited, and ended with everything that they left."""
