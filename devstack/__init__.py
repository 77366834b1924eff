"""The embedded stack behind `marquee up`."""
