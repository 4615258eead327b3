"""Code that several tests share: fake and real servers, segmenters, request bodies, checkpoint files."""
