"""Inside `app.py`: a class collects images, a head is trained on them, and anybody tries it."""
