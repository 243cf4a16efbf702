"""What the Modal home needs beside modal_app.py. Nothing here is imported by the service in its other homes."""
