"""Who holds something on people: this service, and its peers."""
