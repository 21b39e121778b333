"""Faces: detection, the 468-point mesh, tracking, head pose, rest shape and occlusion."""
