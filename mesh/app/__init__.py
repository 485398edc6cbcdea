"""What applications write against: channels, sockets, endpoints, presence, PubSub, topics and tokens."""
