"""What a provider's call costs: the prices of the package genai-prices, and those of PRICES_FILE."""

from .price_file import BadPrices, FilePrices, PricesFile, parse_prices
from .prices import Endpoint, Prices

__all__ = ["BadPrices", "Endpoint", "FilePrices", "Prices", "PricesFile", "parse_prices"]
