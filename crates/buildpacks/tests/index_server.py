"""Package indexes that answer in bad ways, on two ports of the loopback: /401/…, /403/… and /500/… over HTTP; TLS with a certificate that
nobody trusts. Prints both ports and ends when its standard input does."""
import http.server
import os
import ssl
import sys
import threading


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        first = self.path.strip("/").split("/")[0]
        self.send_response(int(first) if first.isdigit() else 404)
        if first == "401":
            self.send_header("WWW-Authenticate", 'Basic realm="index"')
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
