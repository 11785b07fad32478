"""What can be trained: each file turns a config into a training.problem.Problem."""
