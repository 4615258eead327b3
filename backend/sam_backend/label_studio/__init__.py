"""Label Studio as a server that we call: where it is, and how we are let in."""
