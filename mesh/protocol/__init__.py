"""Messages, payloads with their codecs, the serializers of clients, and versions of wire formats."""
