"""Sharing, fairness and rates for coroutines and callbacks: Deferreds and an injected clock, nothing else."""
