//! Authorities and certificates: P-256 keys, X.509 version 3 (RFC 5280).
//!
//! A certificate follows from its keys and from what is asked for: the signature is deterministic (RFC 6979), and the
//! serial number is a digest of everything else. So only keys are kept, and the same keys give the same files.

use std::net::IpAddr;
use std::str::FromStr;
use std::time::Duration;

use p256::SecretKey;
use p256::ecdsa::{DerSignature, SigningKey};
use p256::pkcs8::{DecodePrivateKey, EncodePrivateKey, LineEnding};
use sha2::{Digest as _, Sha256};
use x509_cert::Certificate;
use x509_cert::builder::profile::BuilderProfile;
use x509_cert::builder::{Builder, CertificateBuilder};
use x509_cert::certificate::TbsCertificate;
use x509_cert::der::asn1::{GeneralizedTime, Ia5String, OctetString};
use x509_cert::der::flagset::FlagSet;
use x509_cert::der::oid::ObjectIdentifier;
use x509_cert::der::{Encode, EncodePem};
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::ext::pkix::{
    AuthorityKeyIdentifier, BasicConstraints, ExtendedKeyUsage, KeyUsage, KeyUsages, SubjectAltName,
    SubjectKeyIdentifier,
};
use x509_cert::ext::{Extension, ToExtension};
use x509_cert::name::Name;
use x509_cert::serial_number::SerialNumber;
use x509_cert::spki::{SubjectPublicKeyInfo, SubjectPublicKeyInfoRef};
use x509_cert::time::{Time, Validity as X509Validity};
use zeroize::Zeroizing;

use super::text::malformed;
use super::{Fill, Secret, SecretError};

/// `id-kp-serverAuth` and `id-kp-clientAuth` (RFC 5280, 4.2.1.12).
const SERVER_AUTH: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.1");
const CLIENT_AUTH: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.2");

/// A private key on the curve P-256.
#[derive(Clone)]
pub struct KeyPair(SigningKey);

impl std::fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("KeyPair(…)")
    }
}

impl KeyPair {
    /// A fresh key.
    ///
    /// # Errors
    /// [`SecretError::Random`].
    pub fn make(fill: Fill<'_>) -> Result<Self, SecretError> {
        let mut bytes = Zeroizing::new([0; 32]);
        loop {
            fill(&mut *bytes)?;
            // All but one in 2^32 numbers of 256 bits are below the order of the curve.
            if let Ok(key) = SigningKey::from_slice(&*bytes) {
                return Ok(Self(key));
            }
        }
    }

    /// Reads a PKCS #8 key in PEM.
    ///
    /// # Errors
    /// [`SecretError::Malformed`].
    pub fn from_pem(name: &str, pem: &Secret) -> Result<Self, SecretError> {
        SigningKey::from_pkcs8_pem(pem.reveal())
            .map(Self)
            .map_err(|_| malformed(name, "a P-256 key in PEM (`-----BEGIN PRIVATE KEY-----`)"))
    }

    /// PKCS #8 in PEM.
    #[must_use]
    pub fn to_pem(&self) -> Secret {
        let pem = self.0.to_pkcs8_pem(LineEnding::LF);
        Secret::new(pem.as_ref().map_or("", |pem| pem.as_str()))
    }

    /// SEC 1 in PEM (`-----BEGIN EC PRIVATE KEY-----`, RFC 5915), as `openssl ecparam -genkey` writes it.
    ///
    /// Kubernetes takes the key that checks service account tokens in this form only: its reader of public keys
    /// understands PKCS #8 for RSA, but not for elliptic curves (client-go, `util/keyutil/key.go`).
    #[must_use]
    pub fn to_sec1_pem(&self) -> Secret {
        let pem = SecretKey::from(&self.0).to_sec1_pem(LineEnding::LF);
        Secret::new(pem.as_ref().map_or("", |pem| pem.as_str()))
    }

    /// The public key in PEM (SubjectPublicKeyInfo), for service account keys.
    #[must_use]
    pub fn public_pem(&self) -> String {
        self.spki()
            .ok()
            .and_then(|spki| spki.to_pem(LineEnding::LF).ok())
            .unwrap_or_default()
    }

    fn spki(
        &self,
    ) -> Result<
        SubjectPublicKeyInfo<x509_cert::der::Any, x509_cert::der::asn1::BitString>,
        x509_cert::spki::Error,
    > {
        SubjectPublicKeyInfo::from_key(self.0.verifying_key())
    }
}

/// From when to when a certificate holds, in seconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    /// First second.
    pub not_before: u64,
    /// Last second.
    pub not_after: u64,
}

impl Validity {
    /// 2010 to 2110: boards have no clock, so a certificate must hold at any time that one may come up with, and
    /// cards may lie in a drawer.
    pub const LONG: Self = Self {
        not_before: 1_262_304_000,
        not_after: 4_417_977_599,
    };
}

/// What a certificate is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Usage {
    /// An authority.
    Authority,
    /// A TLS server.
    Server,
    /// A TLS client; Kubernetes takes the common name for the user and organisations for groups.
    Client,
    /// Both, as peers of etcd are.
    Peer,
}

/// Whom a certificate is for.
#[derive(Debug, Clone)]
pub struct CertificateRequest {
    /// `CN`.
    pub common_name: String,
    /// `O`, in order.
    pub organizations: Vec<String>,
    /// What it is for.
    pub usage: Usage,
    /// Host names it is valid for.
    pub names: Vec<String>,
    /// Addresses it is valid for.
    pub addresses: Vec<IpAddr>,
    /// How long.
    pub validity: Validity,
}

impl CertificateRequest {
    /// An authority of this name.
    #[must_use]
    pub fn authority(common_name: &str) -> Self {
        Self {
            common_name: common_name.to_owned(),
            organizations: Vec::new(),
            usage: Usage::Authority,
            names: Vec::new(),
            addresses: Vec::new(),
            validity: Validity::LONG,
        }
    }

    /// A client: user and groups of Kubernetes.
    #[must_use]
    pub fn client(user: &str, groups: &[&str]) -> Self {
        Self {
            usage: Usage::Client,
            organizations: groups.iter().map(|g| (*g).to_owned()).collect(),
            ..Self::authority(user)
        }
    }

    fn subject(&self) -> Result<Name, SecretError> {
        let mut parts = vec![format!("CN={}", self.plain(&self.common_name)?)];
        for organization in self.organizations.iter().rev() {
            parts.push(format!("O={}", self.plain(organization)?));
        }
        // The text form (RFC 4514) has the parts in reverse.
        Name::from_str(&parts.join(",")).map_err(|e| self.error(e))
    }

    /// A name that needs no escapes and fits the upper bound of RFC 5280, appendix A.
    fn plain<'a>(&self, text: &'a str) -> Result<&'a str, SecretError> {
        let ok = |b: u8| b.is_ascii_alphanumeric() || b"-._:@/ ".contains(&b);
        if text.is_empty() || text.len() > 64 || text.trim() != text || !text.bytes().all(ok) {
            return Err(self.error("names are 1 to 64 letters, digits, or `-._:@/`"));
        }
        Ok(text)
    }

    fn error(&self, why: impl ToString) -> SecretError {
        SecretError::Certificate {
            subject: self.common_name.clone(),
            why: why.to_string(),
        }
    }
}

/// An authority: its certificate and its key.
#[derive(Debug, Clone)]
pub struct Authority {
    key: KeyPair,
    certificate: Certificate,
    spki: Vec<u8>,
    der: Vec<u8>,
    pem: String,
}

impl Authority {
    /// A root, signed by itself.
    ///
    /// # Errors
    /// [`SecretError::Certificate`].
    pub fn root(key: KeyPair, request: &CertificateRequest) -> Result<Self, SecretError> {
        let certificate = sign(request, &key, &key, None)?;
        Self::new(key, certificate, request)
    }

    /// An authority below this one.
    ///
    /// # Errors
    /// [`SecretError::Certificate`].
    pub fn intermediate(&self, key: KeyPair, request: &CertificateRequest) -> Result<Self, SecretError> {
        let certificate = sign(request, &key, &self.key, Some(&self.certificate))?;
        Self::new(key, certificate, request)
    }

    fn new(
        key: KeyPair,
        certificate: Certificate,
        request: &CertificateRequest,
    ) -> Result<Self, SecretError> {
        let spki = key.spki().map_err(|e| request.error(e))?;
        Ok(Self {
            spki: spki.to_der().map_err(|e| request.error(e))?,
            der: certificate.to_der().map_err(|e| request.error(e))?,
            pem: certificate.to_pem(LineEnding::LF).map_err(|e| request.error(e))?,
            key,
            certificate,
        })
    }

    /// A certificate for a key, in PEM.
    ///
    /// # Errors
    /// [`SecretError::Certificate`].
    pub fn issue(&self, key: &KeyPair, request: &CertificateRequest) -> Result<String, SecretError> {
        let certificate = sign(request, key, &self.key, Some(&self.certificate))?;
        certificate.to_pem(LineEnding::LF).map_err(|e| request.error(e))
    }

    /// The certificate in PEM.
    #[must_use]
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// The certificate in DER.
    #[must_use]
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// SubjectPublicKeyInfo in DER, what pins are taken of.
    #[must_use]
    pub fn spki_der(&self) -> &[u8] {
        &self.spki
    }

    /// The key in PEM.
    #[must_use]
    pub fn key_pem(&self) -> Secret {
        self.key.to_pem()
    }

    /// The key in PEM, in the form of [`KeyPair::to_sec1_pem`].
    #[must_use]
    pub fn key_sec1_pem(&self) -> Secret {
        self.key.to_sec1_pem()
    }
}

/// The extensions of one certificate.
struct Profile<'a> {
    request: &'a CertificateRequest,
    subject: Name,
    issuer: Name,
}

impl BuilderProfile for Profile<'_> {
    fn get_issuer(&self, _subject: &Name) -> Name {
        self.issuer.clone()
    }

    fn get_subject(&self) -> Name {
        self.subject.clone()
    }

    fn build_extensions(
        &self,
        spk: SubjectPublicKeyInfoRef<'_>,
        issuer_spk: SubjectPublicKeyInfoRef<'_>,
        tbs: &TbsCertificate,
    ) -> x509_cert::builder::Result<Vec<Extension>> {
        let subject = tbs.subject();
        let mut all: Vec<Extension> = Vec::new();
        let authority = self.request.usage == Usage::Authority;
        let usages: FlagSet<KeyUsages> = if authority {
            KeyUsages::DigitalSignature | KeyUsages::KeyCertSign | KeyUsages::CRLSign
        } else {
            KeyUsages::DigitalSignature.into()
        };
        all.push(KeyUsage(usages).to_extension(subject, &all)?);
        let extended = match self.request.usage {
            Usage::Authority => Vec::new(),
            Usage::Server => vec![SERVER_AUTH],
            Usage::Client => vec![CLIENT_AUTH],
            Usage::Peer => vec![SERVER_AUTH, CLIENT_AUTH],
        };
        if !extended.is_empty() {
            all.push(ExtendedKeyUsage(extended).to_extension(subject, &all)?);
        }
        let constraints = BasicConstraints {
            ca: authority,
            path_len_constraint: None,
        };
        all.push(constraints.to_extension(subject, &all)?);
        if authority {
            all.push(SubjectKeyIdentifier(key_id(spk)?).to_extension(subject, &all)?);
        }
        let issuer = AuthorityKeyIdentifier {
            key_identifier: Some(key_id(issuer_spk)?),
            ..AuthorityKeyIdentifier::default()
        };
        all.push(issuer.to_extension(subject, &all)?);
        let mut names = Vec::new();
        for name in &self.request.names {
            names.push(GeneralName::DnsName(Ia5String::new(name)?));
        }
        for address in &self.request.addresses {
            let bytes = match address {
                IpAddr::V4(v4) => v4.octets().to_vec(),
                IpAddr::V6(v6) => v6.octets().to_vec(),
            };
            names.push(GeneralName::IpAddress(OctetString::new(bytes)?));
        }
        if !names.is_empty() {
            all.push(SubjectAltName(names).to_extension(subject, &all)?);
        }
        Ok(all)
    }
}

/// The leftmost 160 bits of the SHA-256 of the public key (RFC 7093, section 2, method 1).
fn key_id(spk: SubjectPublicKeyInfoRef<'_>) -> x509_cert::der::Result<OctetString> {
    OctetString::new(&Sha256::digest(spk.subject_public_key.raw_bytes())[..20])
}

fn sign(
    request: &CertificateRequest,
    key: &KeyPair,
    signer: &KeyPair,
    issuer: Option<&Certificate>,
) -> Result<Certificate, SecretError> {
    let subject = request.subject()?;
    let issuer = issuer.map_or_else(|| subject.clone(), |c| c.tbs_certificate().subject().clone());
    let spki = key.spki().map_err(|e| request.error(e))?;
    let time = |secs| {
        GeneralizedTime::from_unix_duration(Duration::from_secs(secs))
            .map(Time::GeneralTime)
            .map_err(|e| request.error(e))
    };
    if request.validity.not_before >= request.validity.not_after {
        return Err(request.error("it would end before it begins"));
    }
    let validity = X509Validity::new(
        time(request.validity.not_before)?,
        time(request.validity.not_after)?,
    );
    let mut digest = Sha256::new();
    digest.update(spki.to_der().map_err(|e| request.error(e))?);
    digest.update(
        signer
            .spki()
            .and_then(|s| Ok(s.to_der()?))
            .map_err(|e| request.error(e))?,
    );
    digest.update(format!("{request:?}"));
    // Twenty bytes at most, positive and not zero (RFC 5280, 4.1.2.2).
    let mut serial: [u8; 16] = [0; 16];
    serial.copy_from_slice(&digest.finalize()[..16]);
    serial[0] = serial[0] & 0x7F | 0x40;
    let serial = SerialNumber::new(&serial).map_err(|e| request.error(e))?;
    let profile = Profile {
        request,
        subject,
        issuer,
    };
    CertificateBuilder::new(profile, serial, validity, spki)
        .and_then(|builder| builder.build::<_, DerSignature>(&signer.0))
        .map_err(|e| request.error(e))
}
