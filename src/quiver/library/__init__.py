"""The library face: Quiver in your own process, without HTTP."""
