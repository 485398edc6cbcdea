"""Makes a certificate for 127.0.0.1 with openssl, for one run."""

import shutil
import ssl
import subprocess
import sys
from pathlib import Path


def make_certificate(directory: Path) -> dict[str, str]:
    """Return the settings of a gateway with TLS; exit if openssl is missing."""
    openssl = shutil.which("openssl")
    if openssl is None:
        sys.exit("openssl is needed to make a certificate for the TLS row")
    certificate, key = directory / "cert.pem", directory / "key.pem"
    command = f"{openssl} req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2"
    subject = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    files = ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run([*command.split(), *subject, *files], check=True, capture_output=True)
    return {"MESH_GATEWAY__TLS_CERTIFICATE": str(certificate), "MESH_GATEWAY__TLS_KEY": str(key)}


def trust_anyone() -> ssl.SSLContext:
    """Return the TLS context of a measuring client, which verifies no certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
