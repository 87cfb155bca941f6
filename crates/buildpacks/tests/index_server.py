"""Package indexes that answer in bad ways, on two ports of the loopback: /401/…, /403/… and /500/… over HTTP; TLS with a certificate that
nobody trusts. Two that answer well, with the packages of the folder that the first argument names: /dated/simple/… says when each was uploaded (its
file's time), /undated/simple/… does not. /secret/… has the folder's files for `me` with the password `s3cret-tok`, and for the token `s3cret-tok` alone.
Prints both ports and ends when its standard input does."""
import base64
import datetime
import http.server
import json
import os
import ssl
import sys
import threading


FOLDER = sys.argv[1] if len(sys.argv) > 1 else None


def files(name):
    for file in sorted(os.listdir(FOLDER)):
        if file.replace("_", "-").startswith(name + "-"):
            at = datetime.datetime.fromtimestamp(os.path.getmtime(os.path.join(FOLDER, file)), datetime.timezone.utc)
            yield {"filename": file, "url": "/files/" + file, "hashes": {}, "upload-time": at.strftime("%Y-%m-%dT%H:%M:%SZ")}


class Handler(http.server.BaseHTTPRequestHandler):
    def answer(self, kind, body):
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def do_GET(self):
        first, *rest = self.path.split("?")[0].strip("/").split("/")
        if first == "secret" and FOLDER:
            return self.secret("/".join(rest))
        if first == "files" and FOLDER:
            with open(os.path.join(FOLDER, os.path.basename(rest[0])), "rb") as file:
                return self.answer("application/octet-stream", file.read())
        if first in ("dated", "undated") and FOLDER:
            found = list(files(rest[-1]))
            if first == "dated" and found:
                page = {"meta": {"api-version": "1.1"}, "name": rest[-1], "versions": [], "files": found}
                return self.answer("application/vnd.pypi.simple.v1+json", json.dumps(page).encode())
            if found:
                links = "".join('<a href="%s">%s</a>' % (file["url"], file["filename"]) for file in found)
                return self.answer("text/html", links.encode())
        self.send_response(int(first) if first.isdigit() else 404)
        if first == "401":
            self.send_header("WWW-Authenticate", 'Basic realm="index"')
        self.send_header("Content-Length", "0")
        self.end_headers()

    def secret(self, path):
        given = self.headers.get("Authorization", "").removeprefix("Basic ")
        place = os.path.realpath(os.path.join(FOLDER, path))
        is_there = place.startswith(os.path.realpath(FOLDER) + os.sep) and os.path.isfile(place)
        if given and base64.b64decode(given) in (b"me:s3cret-tok", b"s3cret-tok:") and is_there:
            with open(place, "rb") as file:
                return self.answer("application/octet-stream", file.read())
        self.send_response(404 if given and not is_there else 401)
        self.send_header("WWW-Authenticate", 'Basic realm="secret"')
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_HEAD = do_GET

    def log_message(self, *arguments):
        pass


def serve(context=None):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if context:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server.server_address[1]


context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(os.path.join(os.path.dirname(os.path.abspath(__file__)), "index_server.pem"))
print(serve(), serve(context), flush=True)
sys.stdin.read()
