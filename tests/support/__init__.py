"""What tests share: stand-ins, fixtures' helpers, and the browser."""
