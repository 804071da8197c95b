"""The worker: claims jobs, reads rows, has them embedded, stores the vectors, and records what became of each job."""
