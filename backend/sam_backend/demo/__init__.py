"""Label Studio and this backend side by side on one machine, with a few photographs: `make demo` and the real tests."""
