"""An example app with live queries: a shop's orders. Install it with HEADWATER_APPS=docs.examples.orders."""
