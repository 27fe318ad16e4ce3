"""Asks this container's service for its health: `probe.py PORT PATH` ends with 0 for a 200, else with 1 and the answer.

A gateway that speaks TLS is asked by `probe.py PORT PATH FOLDER`: the folder holds `tls.crt` and `tls.key`, the
certificate to show. No library is imported that takes long: an orchestrator starts this every few seconds.
"""

import socket
import sys

PATIENCE_SECONDS = 4.0
KEPT_BYTES = 4096


def main(port: str, path: str, folder: str = "") -> int:
    """Return 0 when the service answers 200, else 1 after a line that says what it answered."""
    request = f"GET {path} HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n".encode("ascii")
    try:
        with _connected(int(port), folder) as connection:
            connection.sendall(request)
            answer = b"".join(iter(lambda: connection.recv(KEPT_BYTES), b""))
    except OSError as error:
        sys.stdout.write(f"nothing answers on port {port}: {error}\n")
        return 1
    head, _, body = answer.partition(b"\r\n\r\n")
    status = head.split(b" ", 2)[1:2]
    if status == [b"200"]:
        return 0
    sys.stdout.write(f"{path}: {b''.join(status).decode()} {body[:KEPT_BYTES].decode(errors='replace')}\n")
    return 1


def _connected(port: int, folder: str) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port), PATIENCE_SECONDS)
    if not folder:
        return connection
    import ssl  # Takes longer than all else here, and most services speak HTTP.

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    # The peer is the process beside this one. Its certificate is for the name that callers use.
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.load_cert_chain(f"{folder}/tls.crt", f"{folder}/tls.key")
    return context.wrap_socket(connection)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
