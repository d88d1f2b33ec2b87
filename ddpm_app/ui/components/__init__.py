"""Components with JavaScript of their own: a .py, a .js and a .css of one name."""
