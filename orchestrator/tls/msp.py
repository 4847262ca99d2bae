"""Whether a client's certificate speaks for the organization that it names (orchestrator.md 2.3).

The certificate names the organization in its subject, and leads to an authority in that organization's folder.
The original compares key identifiers only, which anybody can write into a certificate of his own. Here each
step is verified by its signature too, so that no organization's authority can vouch for another.
"""

from datetime import UTC, datetime
from functools import lru_cache

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.x509.oid import NameOID

from orchestrator.errors import Denied, Internal
from orchestrator.identity import Authentication
from orchestrator.tls.material import Material

LONGEST_CHAIN = 5


def verify(organization: str, authentication: Authentication, material: Material) -> None:
    """Accept a caller that says to be `organization`.

    Raises:
        Internal: the connection has no certificate.
        Denied: it speaks for somebody else, or no longer.
    """
    presented = b"\n".join(
        pem
        for name in ("x509_pem_cert", "x509_pem_cert_chain")
        for pem in authentication.get(name, ())
    )
    if not presented:
        raise Internal("the connection has no TLS peer information")
    try:
        refusal, expires = _verdict(organization, presented, material)
    except ValueError:
        raise Denied("the client's certificate cannot be read") from None
    if not refusal and expires < datetime.now(UTC):
        refusal = "the client's certificate has expired"
    if refusal:
        raise Denied(refusal)


@lru_cache(maxsize=1024)
def _parsed(pem: bytes) -> tuple[x509.Certificate, ...]:
    return tuple(x509.load_pem_x509_certificates(pem))


def _verdict(organization: str, presented: bytes, material: Material) -> tuple[str, datetime]:
    """The reason for a refusal (empty for none), and when the certificate ends."""
    chain = _parsed(presented)
    leaf = chain[0]
    authorities = material.organizations.get(organization)
    if organization not in _organizations(leaf):
        refusal = f'the client\'s certificate is not one of organization "{organization}"'
    elif authorities is None:
        refusal = f'organization "{organization}" has no certificate authority'
    elif not _leads_to(chain, authorities):
        refusal = f'the client\'s certificate was not issued by an authority of "{organization}"'
    else:
        refusal = ""
    return refusal, leaf.not_valid_after_utc


def _organizations(certificate: x509.Certificate) -> set[str]:
    names = certificate.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
    return {str(name.value) for name in names}


@lru_cache(maxsize=4096)
def _leads_to(
    chain: tuple[x509.Certificate, ...], authorities: tuple[x509.Certificate, ...]
) -> bool:
    """Whether the first certificate was issued, step by step, by one of the authorities."""
    current = chain[0]
    for _ in range(LONGEST_CHAIN):
        if any(_issued(current, authority) for authority in authorities):
            return True
        issuers = [
            other
            for other in chain[1:]
            if other != current and _is_authority(other) and _issued(current, other)
        ]
        if not issuers:
            return False
        current = issuers[0]
    return False


def _issued(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    """Key identifiers agree, and the signature is the issuer's."""
    authority, subject = _authority_key(certificate), _subject_key(issuer)
    if authority is None or authority != subject:
        return False
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _is_authority(certificate: x509.Certificate) -> bool:
    try:
        found = certificate.extensions.get_extension_for_class(x509.BasicConstraints)
    except x509.ExtensionNotFound:
        return False
    return found.value.ca


def _authority_key(certificate: x509.Certificate) -> bytes | None:
    try:
        found = certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier)
    except x509.ExtensionNotFound:
        return None
    return found.value.key_identifier


def _subject_key(certificate: x509.Certificate) -> bytes | None:
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
    except x509.ExtensionNotFound:
        return None
    return found.value.digest
