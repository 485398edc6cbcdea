"""Creates, secures and reads every ZeroMQ socket."""
