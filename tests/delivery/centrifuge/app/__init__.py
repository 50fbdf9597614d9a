"""An app as others would install it beside Headwater."""
