"""Annotation of many images: a detector finds objects, a segmenter makes their masks, and label files are written.

All coordinates are those of the upright image. An image is rotated as its EXIF orientation says, which is how browsers,
Label Studio and the common trainers show it.
"""
