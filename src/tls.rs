//! What a TLS connection trusts and shows, for the broker and the registry alike.

use std::{fmt, sync::Arc};

use rustls::{
    ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject},
};

/// Who is trusted, and who we are.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct TlsOptions {
    /// Certificate authorities to trust, in PEM. None: those of the system (`SSL_CERT_FILE` and `SSL_CERT_DIR` are
    /// honoured).
    pub ca: Option<Vec<u8>>,
    /// Trust the system's authorities besides `ca`: for registries, which send clients on to public blob stores.
    pub system_roots_too: bool,
    /// Our certificate and its key, for mutual TLS.
    pub identity: Option<Identity>,
    /// Trust whoever answers. For trials only.
    pub insecure_skip_verify: bool,
}

/// A client certificate.
#[derive(Clone, PartialEq, Eq)]
pub struct Identity {
    /// The certificate chain in PEM, our own certificate first.
    pub certificate: Vec<u8>,
    /// Its private key in PEM.
    pub key: Vec<u8>,
}

impl fmt::Debug for TlsOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsOptions")
            .field("ca", &self.ca.is_some())
            .field("identity", &self.identity.is_some())
            .field("insecure_skip_verify", &self.insecure_skip_verify)
            .finish_non_exhaustive()
    }
}

/// Why no TLS configuration could be made.
#[derive(Debug, Clone, thiserror::Error)]
pub enum TlsError {
    /// The CA bundle is no PEM, or holds no certificate.
    #[error("the CA certificate is not a PEM certificate")]
    InvalidCa,
    /// The client certificate is no PEM, or holds no certificate.
    #[error("the client certificate is not a PEM certificate")]
    InvalidCertificate,
    /// The private key is no PEM, or of an unknown kind.
    #[error("the client key is not a PEM private key")]
    InvalidKey,
    /// The key does not belong to the certificate, or is of an unsupported kind.
    #[error("the client certificate and its key do not work together: {0}")]
    IdentityMismatch(rustls::Error),
    /// The system has no certificate store, and no CA was given.
    #[error("no trusted certificate authorities found on this system: install ca-certificates or set SSL_CERT_FILE")]
    NoSystemRoots,
    /// The TLS library refused its own defaults: a defect of this program.
    #[error("TLS is not available: {0}")]
    Unavailable(rustls::Error),
}

/// Chooses the one cryptography provider for everything; call it first thing in `main`.
///
/// Libraries below disagree on their default, and rustls refuses to guess.
pub fn install_provider() {
    // An error means that one is installed already, which is as good.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}

impl TlsOptions {
    /// The rustls configuration that these options mean: TLS 1.2 or later.
    ///
    /// # Errors
    /// Where a PEM cannot be read, or there is nobody to trust.
    pub fn client_config(&self) -> Result<ClientConfig, TlsError> {
        self.config(Self::roots)
    }

    /// The same for connections that may do without TLS: where there is nobody to trust, every handshake fails, and
    /// nothing before.
    ///
    /// # Errors
    /// Where a PEM cannot be read.
    pub fn client_config_or_nobody(&self) -> Result<ClientConfig, TlsError> {
        self.config(Self::roots_or_none)
    }

    fn config(&self, roots: fn(&Self) -> Result<RootCertStore, TlsError>) -> Result<ClientConfig, TlsError> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(TlsError::Unavailable)?;
        let builder = if self.insecure_skip_verify {
            builder.dangerous().with_custom_certificate_verifier(Arc::new(TrustAnyone(provider)))
        } else {
            builder.with_root_certificates(roots(self)?)
        };
        match &self.identity {
            None => Ok(builder.with_no_client_auth()),
            Some(identity) => {
                let chain = certificates(&identity.certificate).ok_or(TlsError::InvalidCertificate)?;
                let key = PrivateKeyDer::from_pem_slice(&identity.key).map_err(|_| TlsError::InvalidKey)?;
                builder.with_client_auth_cert(chain, key).map_err(TlsError::IdentityMismatch)
            }
        }
    }

    fn roots(&self) -> Result<RootCertStore, TlsError> {
        let roots = self.roots_or_none()?;
        if roots.is_empty() { Err(TlsError::NoSystemRoots) } else { Ok(roots) }
    }

    fn roots_or_none(&self) -> Result<RootCertStore, TlsError> {
        let mut roots = RootCertStore::empty();
        if let Some(ca) = &self.ca {
            for certificate in certificates(ca).ok_or(TlsError::InvalidCa)? {
                roots.add(certificate).map_err(|_| TlsError::InvalidCa)?;
            }
        }
        if self.ca.is_none() || self.system_roots_too {
            // Certificates of a system's store that rustls cannot read are passed over, as every client does.
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
        Ok(roots)
    }
}

/// The certificates in a PEM file; `None` where one is broken or there are none.
fn certificates(pem: &[u8]) -> Option<Vec<CertificateDer<'static>>> {
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>().ok()?;
    (!certificates.is_empty()).then_some(certificates)
}

/// `insecureSkipVerify`: signatures are checked, names and issuers are not.
#[derive(Debug)]
struct TrustAnyone(Arc<CryptoProvider>);

impl ServerCertVerifier for TrustAnyone {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ca_that_is_no_pem_is_named() {
        let options = TlsOptions { ca: Some(b"no pem".to_vec()), ..TlsOptions::default() };
        assert!(matches!(options.client_config(), Err(TlsError::InvalidCa)));
        assert!(matches!(options.client_config_or_nobody(), Err(TlsError::InvalidCa)));
    }

    #[test]
    fn a_certificate_that_is_no_pem_is_named() {
        let identity = Identity { certificate: b"no pem".to_vec(), key: Vec::new() };
        let options = TlsOptions { identity: Some(identity), insecure_skip_verify: true, ..TlsOptions::default() };
        assert!(matches!(options.client_config(), Err(TlsError::InvalidCertificate)));
    }

    #[test]
    fn the_debug_text_holds_no_key() {
        let identity = Identity { certificate: b"public".to_vec(), key: b"secret".to_vec() };
        let options = TlsOptions { identity: Some(identity), ..TlsOptions::default() };
        assert!(!format!("{options:?}").contains("secret"));
    }
}
