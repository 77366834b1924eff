"""MongoDB: the client, transactions, and the migration of collections."""
