"""What a TLS handshake with the brokers says. kafka-python tells whoever waits for a first connection that there was
none, whether a certificate has expired, a file is damaged, the listener is another one or nobody is there."""

import socket
import ssl
import time
from urllib.parse import urlsplit

from pipeline.settings import Settings

_SEARCH_S = 3.0
"""With all brokers together: somebody waits for the answer."""
_HELLO_S = 1.0
"""A server of TLS says so at once."""
_REFUSAL_S = 1.0
"""In TLS 1.3 a server refuses the client's certificate only after the client takes the handshake for done."""
_EXPIRED, _NOT_YET, _OTHER_NAME, _OTHER_ADDRESS = 10, 9, 62, 64
"""OpenSSL's X509_V_ERR_…"""


def tls_fault(settings: Settings) -> str | None:
    """A sentence that says what is wrong with the certificates, or that TLS is spoken on one side alone. None: nothing
    was found, or nobody answers."""
    encrypted = settings.kafka_security_protocol.endswith("SSL")
    try:
        context = _context(settings) if encrypted else _trusting()
    except _UnusableError as error:
        return str(error)
    ends = time.monotonic() + (_SEARCH_S if encrypted else _HELLO_S)
    for address in settings.kafka_bootstrap.split(","):
        left_s = ends - time.monotonic()
        if left_s <= 0:
            break
        if not encrypted and _speaks_tls(address, context, left_s):
            protocol = settings.kafka_security_protocol
            wanted = "SASL_SSL" if protocol.startswith("SASL") else "SSL, with a password to SASL_SSL"
            return f"{address} speaks TLS, and KAFKA_SECURITY_PROTOCOL is {protocol}: set it to {wanted}"
        if encrypted and (fault := _fault_at(address, context, settings, left_s)):
            return fault
    return None


class _UnusableError(Exception):
    """A file that holds what TLS cannot use."""


def _context(settings: Settings) -> ssl.SSLContext:
    """As kafka-python makes it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority, certificate, key = settings.kafka_files.values()
    try:
        if authority:
            context.load_verify_locations(authority)
        else:
            context.load_default_certs()
    except (OSError, ssl.SSLError) as error:
        raise _UnusableError(f"KAFKA_SSL_CAFILE: {authority} holds no certificate in PEM form") from error
    if certificate:
        try:
            context.load_cert_chain(certificate, key, password=lambda: "")  # it would ask at the terminal
        except (OSError, ssl.SSLError) as error:
            if getattr(error, "reason", "") == "KEY_VALUES_MISMATCH":
                told = f"KAFKA_SSL_CERTFILE and KAFKA_SSL_KEYFILE: the key {key} is not the key of {certificate}"
            else:
                told = f"KAFKA_SSL_CERTFILE, KAFKA_SSL_KEYFILE: {certificate} and {key or 'no other file'} hold no "
                told += "certificate and unlocked key in PEM form"
            raise _UnusableError(told) from error
    return context


def _trusting() -> ssl.SSLContext:
    """For who tells that server nothing."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _place(address: str) -> tuple[str, int]:
    """Raises OSError, as where nobody is."""
    try:
        place = urlsplit(f"//{address}")
        return place.hostname or "", place.port or 9092
    except ValueError as error:  # IPv6 without brackets
        raise OSError(address) from error


def _speaks_tls(address: str, context: ssl.SSLContext, timeout_s: float) -> bool:
    try:
        with socket.create_connection(_place(address), timeout_s) as plain, context.wrap_socket(plain):
            return True
    except OSError:
        return False


def _fault_at(address: str, context: ssl.SSLContext, settings: Settings, timeout_s: float) -> str | None:
    greeting = False
    try:
        host, port = _place(address)
        with socket.create_connection((host, port), timeout_s) as plain:
            greeting = True
            with context.wrap_socket(plain, server_hostname=host) as secure:
                greeting = False
                secure.settimeout(_REFUSAL_S)
                secure.recv(1)
    except ssl.SSLCertVerificationError as error:
        return f"the certificate of {address} is not believed: {_why(error, settings)}"
    except ssl.SSLError as error:
        reason = error.reason or ""
        if "ALERT" in reason:
            words = reason.split("ALERT_")[-1].replace("_", " ").lower()
            mine = settings.kafka_ssl_certfile
            return f"{address} refuses our certificate ({words}): " + (
                f"KAFKA_SSL_CERTFILE is {mine}; look at its dates and at who signed it"
                if mine
                else "name one in KAFKA_SSL_CERTFILE, its key in KAFKA_SSL_KEYFILE"
            )
        if reason in ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "HTTP_REQUEST"):
            return f"{address} does not speak TLS: is it the port of another listener?"
        if isinstance(error, ssl.SSLEOFError):
            return _hangs_up(address)
    except ConnectionResetError:
        return _hangs_up(address) if greeting else None
    except OSError:
        pass  # nobody there, or nothing wrong that TLS tells
    return None


def _hangs_up(address: str) -> str:
    """As Kafka does where a listener is not for TLS."""
    return f"{address} hangs up as soon as TLS begins: is it the port of another listener, or of a proxy alone?"


def _why(error: ssl.SSLCertVerificationError, settings: Settings) -> str:
    message = error.verify_message.rstrip(".")
    match error.verify_code:
        case code if code in (_EXPIRED, _NOT_YET):
            return f"{message}. Renew it there, or set this machine's clock"
        case code if code in (_OTHER_NAME, _OTHER_ADDRESS):
            return f"{message}. Write in KAFKA_BOOTSTRAP a name that it holds"
    authority = settings.kafka_ssl_cafile
    return f"{message}. " + (
        f"KAFKA_SSL_CAFILE is {authority}: it must hold the authority that signed it"
        if authority
        else "Name the authority that signed it in KAFKA_SSL_CAFILE"
    )
