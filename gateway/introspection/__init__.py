"""What a gateway reports to operators: its topics, and the delivery of single broadcasts."""
