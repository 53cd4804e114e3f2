"""What a program can ask of a cluster's autoscaler by the head's address."""
