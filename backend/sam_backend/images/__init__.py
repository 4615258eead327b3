"""From a task's data value to pixels: where the picture is, its bytes, its RGB array."""
