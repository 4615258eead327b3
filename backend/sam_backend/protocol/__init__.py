"""What travels between us and Label Studio, typed."""
