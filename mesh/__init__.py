"""The runtime that every Marquee service shares."""
