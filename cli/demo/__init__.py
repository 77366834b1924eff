"""The main job of the mesh, step by step."""
