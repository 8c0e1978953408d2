"""What the Rust runtime and an etcd show each other over TLS.

The runtime takes the PEM text itself out of three variables, although its documentation speaks of paths. It
passes over them in silence unless all three are there, or if there are a user and a password.
"""

from __future__ import annotations

import ssl
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from dynamo_core import environment
from dynamo_core.errors import UserError

CA, CERTIFICATE, KEY = "ETCD_AUTH_CA", "ETCD_AUTH_CLIENT_CERT", "ETCD_AUTH_CLIENT_KEY"
VARIABLES = (CA, CERTIFICATE, KEY)
USER, PASSWORD = "ETCD_AUTH_USERNAME", "ETCD_AUTH_PASSWORD"


@dataclass(frozen=True)
class Certificates:
    """PEM texts."""

    authority: str
    certificate: str
    key: str = field(repr=False)

    def context(self) -> ssl.SSLContext:
        """For a client. Raises `OSError` for what is no certificate, or no key of it."""
        context = ssl.create_default_context(cadata=self.authority)
        with tempfile.TemporaryDirectory() as folder:  # for this user alone; ssl reads these from files only
            certificate, key = Path(folder, "certificate"), Path(folder, "key")
            certificate.write_text(self.certificate)
            key.write_text(self.key)
            context.load_cert_chain(certificate, key)
        return context


def etcd_certificates() -> Certificates | None:
    """Those that components use; None if no variable is set.

    Raises `UserError` for what the Rust runtime would pass over, or fail at without a word of it.
    """
    texts = {name: environment.read(name) or "" for name in VARIABLES}
    missing = [name for name, text in texts.items() if not text]
    if len(missing) == len(VARIABLES):
        return None
    if missing:
        raise UserError(
            f"etcd's certificates count only together, and {', '.join(missing)} "
            f"{'is' if len(missing) == 1 else 'are'} not set",
            fix=f"set {' and '.join(missing)} too, or unset the others",
        )
    if paths := [name for name, text in texts.items() if "-----BEGIN " not in text]:
        raise UserError(
            f"{', '.join(paths)}: the Rust runtime takes the text of a PEM file, not its path",
            fix=" ".join(f'{name}="$(cat FILE)"' for name in paths),
        )
    if environment.read(USER) and environment.read(PASSWORD):
        raise UserError(
            f"the Rust runtime passes over etcd's certificates where {USER} and {PASSWORD} are set",
            fix=f"unset {USER} and {PASSWORD}, or {', '.join(VARIABLES)}",
        )
    return Certificates(*texts.values())
