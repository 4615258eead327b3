"""Region values from masks, one file per control tag of Label Studio, and the RLE of brush regions."""
