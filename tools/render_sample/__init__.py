"""Render the course's own pictures of pizza, steak and sushi.

The modules that import `bpy` need the environment that README.md in this folder describes.
"""
