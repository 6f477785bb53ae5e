"""The proxy and single layers on real sockets."""
