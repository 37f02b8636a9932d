"""The decisions of the broker: one event in, an answer and effects out; pure, with the time as an argument."""
