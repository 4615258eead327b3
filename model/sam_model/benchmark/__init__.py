"""The models side by side: how large they are and how fast they work on this machine."""
