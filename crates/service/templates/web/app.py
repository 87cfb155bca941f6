"""A web app. The platform says in PORT where it shall listen."""
from flask import Flask

app = Flask(__name__)


@app.get("/")
def index():
    return {"status": "Service is up and running"}
