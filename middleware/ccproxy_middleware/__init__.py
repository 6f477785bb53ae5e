"""The layers of cc-boost: pure ASGI middleware. Each can be used alone in front of any ASGI app."""

from .auth import AuthMiddleware, ClientKey
from .body_memory import BodyMemoryMiddleware
from .boost import BoostCache, BoostMiddleware, MemoryBoostCache
from .budgets import BudgetMiddleware, KeyLimits, Spending
from .concurrency import ConcurrencyLimitMiddleware
from .conversion import FormatConversionMiddleware
from .headers import CustomHeadersMiddleware
from .inspector import InspectorMiddleware
from .ledger import LedgerMiddleware, MeterMiddleware
from .metrics import MetricsMiddleware
from .models import ModelMappingMiddleware
from .passthrough import PassthroughMiddleware
from .prompted_tools import PromptedToolsMiddleware
from .routing import Route, RoutingMiddleware
from .safeguards import SafeguardsMiddleware
from .vision import VisionMiddleware
from .web_search import SearchError, SearchQuery, SearchResult, WebSearchMiddleware

__all__ = [
    "AuthMiddleware",
    "BodyMemoryMiddleware",
    "BoostCache",
    "BoostMiddleware",
    "BudgetMiddleware",
    "ClientKey",
    "ConcurrencyLimitMiddleware",
    "CustomHeadersMiddleware",
    "FormatConversionMiddleware",
    "InspectorMiddleware",
    "KeyLimits",
    "LedgerMiddleware",
    "MemoryBoostCache",
    "MeterMiddleware",
    "MetricsMiddleware",
    "ModelMappingMiddleware",
    "PassthroughMiddleware",
    "PromptedToolsMiddleware",
    "Route",
    "RoutingMiddleware",
    "SafeguardsMiddleware",
    "SearchError",
    "SearchQuery",
    "SearchResult",
    "Spending",
    "VisionMiddleware",
    "WebSearchMiddleware",
]
