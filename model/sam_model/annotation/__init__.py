"""Auto-annotation of many pictures: a detector finds the objects, a segmenter makes their masks, files say so.

Coordinates everywhere are those of the **upright** picture: where a photograph's EXIF data say that it lies on its
side it is turned first, as browsers, Label Studio and the common trainers show it.
"""
