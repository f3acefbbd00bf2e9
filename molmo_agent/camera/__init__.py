"""A pinhole camera: from points of an image to rays and places of the world, and back. Needs only numpy."""

from molmo_agent.camera.pinhole import OPENGL_TO_OPENCV, Camera, Places, Points, Projection, look_at

__all__ = ["OPENGL_TO_OPENCV", "Camera", "Places", "Points", "Projection", "look_at"]
