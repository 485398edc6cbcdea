"""What a gateway tells operators: its topics, and the fate of single broadcasts."""
