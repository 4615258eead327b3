"""From a task's data value to the image: where the file is, its bytes, its version, its pixels."""
