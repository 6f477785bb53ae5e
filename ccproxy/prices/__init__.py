"""The cost of a provider's call: prices from the package genai-prices, and those in PRICES_FILE."""

from .price_file import BadPrices, FilePrices, PricesFile, parse_prices
from .prices import Endpoint, Prices

__all__ = ["BadPrices", "Endpoint", "FilePrices", "Prices", "PricesFile", "parse_prices"]
