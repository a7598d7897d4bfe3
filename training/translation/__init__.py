"""The translator's training: sentence pairs, batches of like length, and the loop."""
