"""The invisible watermark: a 64-bit id embedded into the brightness of all frames of a clip."""
