"""What is asked of Ray Train: the trainer of a job, its policies, its process group, its requests.

Here is what depends on how Ray Train works inside. What the driver does around a training, on Ray
or not, is in `driver` itself.
"""
