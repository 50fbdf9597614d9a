"""What does a delivery cost? Headwater beside the stock Channels consumer, Nchan and NATS, in one run."""
