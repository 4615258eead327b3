"""The Label Studio side: HTTP, percent and XML in, regions out."""
