"""The browser, the stand-in for the gateway, and a page that is open on it."""

from support.page_browser import browser, page, stand_in

__all__ = ["browser", "page", "stand_in"]
