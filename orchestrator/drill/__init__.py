"""A drill: a job with faults at seeded steps, held against the same job undisturbed."""
