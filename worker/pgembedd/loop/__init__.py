"""The worker: claims jobs, reads and embeds their rows, stores the vectors and records the outcome of each job."""
