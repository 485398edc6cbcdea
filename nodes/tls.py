"""TLS for the clients' port."""

import ssl

from mesh.errors import SettingsError
from mesh.settings import GatewaySettings


def context(gateway: GatewaySettings) -> ssl.SSLContext | None:
    """Return the TLS context with the settings' certificate; None without one.

    Raises:
        SettingsError: if the certificate or the key cannot be used.
    """
    if gateway.tls_certificate is None:
        if gateway.tls_key is not None:
            raise SettingsError("MESH_GATEWAY__TLS_KEY is set without MESH_GATEWAY__TLS_CERTIFICATE")
        return None
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        tls.load_cert_chain(gateway.tls_certificate, gateway.tls_key)
    except (OSError, ssl.SSLError) as error:
        raise SettingsError(
            f"MESH_GATEWAY__TLS_CERTIFICATE: cannot use {str(gateway.tls_certificate)!r}"
            f" with the key {str(gateway.tls_key or gateway.tls_certificate)!r}: {error}"
        ) from None
    return tls
