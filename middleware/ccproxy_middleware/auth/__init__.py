"""Authentication of clients, and the names of their keys."""

from .keys import AdminKeys, ClientKey, ClientKeys, KeySource, forbidden
from .middleware import ADMITTED_AS, Admission, AuthMiddleware, credential_id

__all__ = [
    "ADMITTED_AS",
    "AdminKeys",
    "Admission",
    "AuthMiddleware",
    "ClientKey",
    "ClientKeys",
    "KeySource",
    "credential_id",
    "forbidden",
]
