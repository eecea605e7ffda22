"""What people and programs ask of alerting, and how it is shown to them."""
