//! The container: `COSE_Sign1` and `COSE_Mac0` (RFC 9052), in the one shape that we read and write.
//!
//! What is verified are the octets received; nothing is serialised again to be verified, and the payload
//! comes out of [`Envelope::verify`] only.

use coset::iana::{self, EnumI64};
use coset::{
    CborSerializable, CoseMac0, CoseMac0Builder, CoseSign1, CoseSign1Builder, Header,
    HeaderBuilder, ProtectedHeader, RegisteredLabelWithPrivate, TaggedCborSerializable,
    mac_structure_data, sig_structure_data,
};
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

use super::walk;

/// `external_aad` of a request: what is signed for us is signed for nothing else.
pub const REQUEST_AAD: &[u8] = b"netsysrq-mail/1 request";
/// `external_aad` of an answer.
pub const ANSWER_AAD: &[u8] = b"netsysrq-mail/1 answer";

const SIGN1_TAG: u8 = 18;
const MAC0_TAG: u8 = 17;

/// What a container is checked with.
pub enum Verifier {
    /// The public key of an Ed25519 signer (RFC 8032).
    Ed25519(VerifyingKey),
    /// The secret of an HMAC 256/256 (RFC 2104), 32 octets or more.
    Hmac(Zeroizing<Vec<u8>>),
}

/// What a container is sealed with.
pub enum Seal {
    /// The private key of an Ed25519 signer.
    Ed25519(SigningKey),
    /// The secret of an HMAC 256/256.
    Hmac(Zeroizing<Vec<u8>>),
}

impl std::fmt::Debug for Verifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Ed25519(_) => "Ed25519",
            Self::Hmac(_) => "Hmac",
        })
    }
}

impl std::fmt::Debug for Seal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Ed25519(_) => "Ed25519",
            Self::Hmac(_) => "Hmac",
        })
    }
}

/// Why the payload of a container is not handed out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forged {
    /// The key is of another type than the algorithm.
    KeyType,
    /// The signature or MAC is wrong.
    Signature,
}

/// A container of the right shape; who made it is not known.
#[derive(Debug)]
pub struct Envelope {
    algorithm: iana::Algorithm,
    kid: Vec<u8>,
    payload: Vec<u8>,
    proof: Vec<u8>,
    signed: Vec<u8>,
}

impl Envelope {
    /// Reads a container.
    ///
    /// # Errors
    /// [`walk::Malformed`] unless `octets` are one tagged container with a protected header of exactly `alg` and
    /// `kid`, an empty unprotected header, a payload, and 64 octets of signature or 32 of MAC.
    pub fn open(octets: &[u8], aad: &[u8]) -> Result<Self, walk::Malformed> {
        let malformed = |_| walk::Malformed;
        match walk::tagged(octets)? {
            SIGN1_TAG => {
                let cose = CoseSign1::from_tagged_slice(octets).map_err(malformed)?;
                let payload = cose.payload.ok_or(walk::Malformed)?;
                let (algorithm, kid) = header(&cose.protected, &cose.unprotected)?;
                let ours = matches!(algorithm, iana::Algorithm::EdDSA | iana::Algorithm::Ed25519);
                let signed = sig_structure_data(
                    coset::SignatureContext::CoseSign1,
                    cose.protected,
                    None,
                    aad,
                    &payload,
                );
                let whole = ours && cose.signature.len() == 64;
                whole
                    .then_some(Self { algorithm, kid, payload, proof: cose.signature, signed })
                    .ok_or(walk::Malformed)
            }
            MAC0_TAG => {
                let cose = CoseMac0::from_tagged_slice(octets).map_err(malformed)?;
                let payload = cose.payload.ok_or(walk::Malformed)?;
                let (algorithm, kid) = header(&cose.protected, &cose.unprotected)?;
                let signed =
                    mac_structure_data(coset::MacContext::CoseMac0, cose.protected, aad, &payload);
                let whole = algorithm == iana::Algorithm::HMAC_256_256 && cose.tag.len() == 32;
                whole
                    .then_some(Self { algorithm, kid, payload, proof: cose.tag, signed })
                    .ok_or(walk::Malformed)
            }
            _ => Err(walk::Malformed),
        }
    }

    /// The key that the container says it was made with.
    #[must_use]
    pub fn kid(&self) -> &[u8] {
        &self.kid
    }

    /// Whether the container is a MAC.
    #[must_use]
    pub fn is_mac(&self) -> bool {
        self.algorithm == iana::Algorithm::HMAC_256_256
    }

    /// The payload, as anybody may have written it: not to be believed.
    #[must_use]
    pub fn unverified_payload(&self) -> &[u8] {
        &self.payload
    }

    /// The payload, if the holder of `verifier` made this container.
    ///
    /// # Errors
    /// [`Forged`] if the key is of another type, or the signature or MAC is wrong.
    pub fn verify(&self, verifier: &Verifier) -> Result<&[u8], Forged> {
        let good = match (verifier, self.is_mac()) {
            (Verifier::Ed25519(key), false) => {
                let signature =
                    Signature::from_slice(&self.proof).map_err(|_| Forged::Signature)?;
                key.verify_strict(&self.signed, &signature).is_ok()
            }
            (Verifier::Hmac(secret), true) => keyed(secret).is_some_and(|mac| {
                mac.chain_update(&self.signed).verify_slice(&self.proof).is_ok()
            }),
            _ => return Err(Forged::KeyType),
        };
        if good { Ok(&self.payload) } else { Err(Forged::Signature) }
    }
}

/// Makes a container around `payload`.
///
/// `None` if the library cannot write it, which no input of ours causes.
#[must_use]
pub fn seal(payload: Vec<u8>, kid: &[u8], aad: &[u8], seal: &Seal) -> Option<Vec<u8>> {
    match seal {
        Seal::Ed25519(key) => {
            let sign = |signed: &[u8]| Ok::<_, ()>(key.sign(signed).to_bytes());
            sign1(payload, kid, aad, sign).ok()?
        }
        Seal::Hmac(secret) => {
            let mac = keyed(secret)?;
            CoseMac0Builder::new()
                .protected(emitted(iana::Algorithm::HMAC_256_256, kid))
                .payload(payload)
                .create_tag(aad, |signed| mac.chain_update(signed).finalize().into_bytes().to_vec())
                .build()
                .to_tagged_vec()
                .ok()
        }
    }
}

/// Makes a container that somebody else signs with Ed25519.
///
/// `None` as in [`seal`].
///
/// # Errors
/// Those of `sign`.
pub fn sign1<E>(
    payload: Vec<u8>,
    kid: &[u8],
    aad: &[u8],
    sign: impl FnOnce(&[u8]) -> Result<[u8; 64], E>,
) -> Result<Option<Vec<u8>>, E> {
    let container = CoseSign1Builder::new()
        .protected(emitted(iana::Algorithm::EdDSA, kid))
        .payload(payload)
        .try_create_signature(aad, |signed| sign(signed).map(Vec::from))?;
    Ok(container.build().to_tagged_vec().ok())
}

fn emitted(algorithm: iana::Algorithm, kid: &[u8]) -> Header {
    HeaderBuilder::new().algorithm(algorithm).key_id(kid.to_vec()).build()
}

fn keyed(secret: &[u8]) -> Option<Hmac<Sha256>> {
    Hmac::new_from_slice(secret).ok()
}

fn header(
    protected: &ProtectedHeader,
    unprotected: &Header,
) -> Result<(iana::Algorithm, Vec<u8>), walk::Malformed> {
    let received = protected.original_data.as_deref().ok_or(walk::Malformed)?;
    walk::item(received)?;
    let Some(RegisteredLabelWithPrivate::Assigned(algorithm)) = protected.header.alg else {
        return Err(walk::Malformed);
    };
    let kid = protected.header.key_id.clone();
    let exactly = Header {
        alg: iana::Algorithm::from_i64(algorithm.to_i64())
            .map(RegisteredLabelWithPrivate::Assigned),
        key_id: kid.clone(),
        ..Header::default()
    };
    if kid.is_empty() || protected.header != exactly || *unprotected != Header::default() {
        return Err(walk::Malformed);
    }
    Ok((algorithm, kid))
}

/// Reads a payload with `coset`, once the walk has found its form strict.
///
/// # Errors
/// [`walk::Malformed`] if either refuses it.
pub fn claims(payload: &[u8]) -> Result<coset::cwt::ClaimsSet, walk::Malformed> {
    walk::item(payload)?;
    coset::cwt::ClaimsSet::from_slice(payload).map_err(|_| walk::Malformed)
}
