//! Tokens and keys of another library: `vectors.json`, made with jose.

use serde_json::Value as Json;

use super::*;
use crate::auth::keys::{KeyError, KeySet, Trust};

pub(super) fn vectors() -> Json {
    serde_json::from_str(include_str!("vectors.json")).unwrap()
}

pub(super) fn text(json: &Json) -> &str {
    json.as_str().unwrap()
}

/// A file with this content, and the folder that holds it.
pub(super) fn file(content: impl AsRef<[u8]>) -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys");
    std::fs::write(&path, content).unwrap();
    let path = path.to_str().unwrap().to_owned();
    (folder, path)
}

const PAIRS: [&str; 3] = ["RS256", "ES256", "EdDSA"];

fn check(flags: &[(&str, &str)], token: &str) {
    let names = [
        ("auth_audience", "driftless"),
        ("auth_issuer", "https://id.example"),
    ];
    let (authority, _) = authority(&[flags, &names].concat());
    let grant = decided(&authority, "team/a", token).unwrap();
    let wanted = Grant {
        subject: Some("ada".into()),
        token_id: Some("t1".into()),
        issued_at_ms: Some(NOW_MS),
        right: Right::Write,
        may_relay: false,
        expires_at_ms: Some(4_102_444_800_000),
    };
    assert_eq!(grant, wanted);
    assert_eq!(
        decided(&authority, "other", token).unwrap().right,
        Right::Read
    );
}

#[test]
fn tokens_are_accepted_by_the_public_half_in_every_form() {
    let vectors = vectors();
    for algorithm in PAIRS {
        let vector = &vectors[algorithm];
        let jwk = vector["jwk"].to_string();
        let set = serde_json::json!({ "keys": [vector["jwk"]] }).to_string();
        for keys in [text(&vector["pem"]), &jwk, &set] {
            let (_folder, path) = file(keys);
            check(&[("auth_keys", &path)], text(&vector["token"]));
        }
        for key in [text(&vector["pkcs8"]), &vector["privateJwk"].to_string()] {
            let (_folder, path) = file(key);
            check(&[("auth_signing_key", &path)], text(&vector["token"]));
        }
    }
    let secret = text(&vectors["HS256"]["secret"]);
    check(&[("auth_secret", secret)], text(&vectors["HS256"]["token"]));
}

#[test]
fn all_keys_may_stand_in_one_file() {
    let vectors = vectors();
    let pems = PAIRS.map(|algorithm| text(&vectors[algorithm]["pem"]).to_owned());
    let jwks = PAIRS.map(|algorithm| vectors[algorithm]["jwk"].clone());
    for content in [
        pems.concat(),
        serde_json::json!({ "keys": jwks }).to_string(),
    ] {
        let (_folder, path) = file(content);
        for algorithm in PAIRS {
            check(&[("auth_keys", &path)], text(&vectors[algorithm]["token"]));
        }
    }
}

#[test]
fn nested_claims_are_read() {
    let vectors = vectors();
    let secret = text(&vectors["HS256"]["secret"]);
    let (authority, _) = authority(&[("auth_secret", secret)]);
    let grant = decided(&authority, "a", text(&vectors["nested"])).unwrap();
    assert_eq!((grant.right, grant.may_relay), (Right::Comment, true));
    assert_eq!(grant.subject.as_deref(), Some("bob"));
}

#[test]
fn what_is_signed_here_is_accepted_by_the_public_half() {
    let vectors = vectors();
    for algorithm in PAIRS {
        let vector = &vectors[algorithm];
        for key in [text(&vector["pkcs8"]), &vector["privateJwk"].to_string()] {
            let signer = Signer::from_key(key.as_bytes()).unwrap();
            let (_folder, path) = file(text(&vector["pem"]));
            let (authority, _) = authority(&[("auth_keys", &path)]);
            let token = signer.sign(&new_token()).unwrap();
            let grant = decided(&authority, "team/a", &token).unwrap();
            assert_eq!(grant.right, Right::Write, "{algorithm}");
        }
    }
}

#[test]
fn keys_that_cannot_be_used_are_refused_with_their_reason() {
    let vectors = vectors();
    let refused = &vectors["refused"];
    let jwk = |change: &dyn Fn(&mut Json)| {
        let mut jwk = vectors["ES256"]["jwk"].clone();
        change(&mut jwk);
        jwk.to_string()
    };
    let short = serde_json::json!({ "kty": "oct", "k": "c2hvcnQ" }).to_string();
    let rsa = serde_json::json!({ "kty": "RSA", "n": "_w", "e": "AQAB" }).to_string();
    let many = vec![vectors["ES256"]["jwk"].clone(); keys::KEYS_MAX + 1];
    let many = serde_json::json!({ "keys": many }).to_string();
    let unusable = |label: &str| KeyError::Pem(label.into());
    let table = [
        (String::new(), KeyError::NoKeys),
        ("{".into(), KeyError::NoKeys),
        (r#"{"keys":[]}"#.into(), KeyError::NoKeys),
        ("-----BEGIN PUBLIC KEY-----".into(), KeyError::NoKeys),
        (text(&vectors["RS256"]["pkcs8"]).into(), KeyError::Private),
        (text(&refused["sec1"]).into(), KeyError::Private),
        (
            vectors["EdDSA"]["privateJwk"].to_string(),
            KeyError::Private,
        ),
        (text(&refused["rsa1024"]).into(), KeyError::RsaLength(1_024)),
        (rsa, KeyError::RsaLength(8)),
        (text(&refused["p384"]).into(), unusable("PUBLIC KEY")),
        (
            pem::armoured("PUBLIC KEY", b"no der"),
            unusable("PUBLIC KEY"),
        ),
        (pem::armoured("CERTIFICATE", b"x"), unusable("CERTIFICATE")),
        (short, KeyError::ShortSecret(5)),
        (
            jwk(&|jwk| jwk["use"] = "enc".into()),
            KeyError::Jwk("that is not meant for signatures"),
        ),
        (
            jwk(&|jwk| jwk["key_ops"] = serde_json::json!(["sign"])),
            KeyError::Jwk("that is not meant for signatures"),
        ),
        (
            jwk(&|jwk| jwk["alg"] = "ES384".into()),
            KeyError::Jwk("for another algorithm than HS256, RS256, ES256 and EdDSA"),
        ),
        (
            jwk(&|jwk| jwk["alg"] = "HS256".into()),
            KeyError::Jwk("for another algorithm than HS256, RS256, ES256 and EdDSA"),
        ),
        (
            jwk(&|jwk| jwk["crv"] = "P-384".into()),
            KeyError::Jwk("that is none of oct, RSA, P-256 and Ed25519"),
        ),
        (
            jwk(&|jwk| jwk["x"] = "AAAA".into()),
            KeyError::Jwk("whose point is not on P-256"),
        ),
        (
            jwk(&|jwk| jwk["x"] = "?".into()),
            KeyError::Jwk("with a member that is not base64url"),
        ),
        (many, KeyError::TooMany),
        ("x".repeat(keys::KEYS_BYTES_MAX + 1), KeyError::TooLarge),
    ];
    for (content, wanted) in table {
        let found = KeySet::read(content.as_bytes(), Trust::File);
        let start = content.get(..60).unwrap_or(&content);
        assert_eq!(found.err(), Some(wanted), "{start}");
    }
}

#[test]
fn of_published_keys_the_usable_ones_are_taken() {
    let vectors = vectors();
    let set = serde_json::json!({ "keys": [
        vectors["ES256"]["jwk"],
        vectors["EdDSA"]["privateJwk"],
        { "kty": "oct", "k": "c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0" },
        { "kty": "OKP", "crv": "X25519", "x": "AAAA" },
        { "kty": "new", "magic": [1, 2] },
        "nonsense",
    ] });
    let keys = KeySet::read(set.to_string().as_bytes(), Trust::Published).unwrap();
    assert_eq!(keys.len(), 1);
    let pem = text(&vectors["ES256"]["pem"]);
    let found = KeySet::read(pem.as_bytes(), Trust::Published);
    assert_eq!(found.err(), Some(KeyError::NoKeys), "a key URL serves JWKS");
}

#[test]
fn signing_keys_that_cannot_be_used_are_refused_with_what_to_do() {
    let vectors = vectors();
    let mut mixed = vectors["ES256"]["privateJwk"].clone();
    mixed["d"] = vectors["EdDSA"]["privateJwk"]["d"].clone();
    let mut named = vectors["ES256"]["privateJwk"].clone();
    named["alg"] = "RS256".into();
    let table = [
        (String::new(), "keys generate"),
        ("{}".into(), "keys generate"),
        (text(&vectors["ES256"]["pem"]).into(), "keys generate"),
        (vectors["ES256"]["jwk"].to_string(), "keys generate"),
        (text(&vectors["refused"]["sec1"]).into(), "openssl pkcs8"),
        (mixed.to_string(), "cannot be used"),
        (named.to_string(), "another algorithm"),
        (r#"{"kty":"oct","k":"c2hvcnQ"}"#.into(), "at least 32"),
    ];
    for (content, wanted) in table {
        let told = Signer::from_key(content.as_bytes())
            .unwrap_err()
            .to_string();
        assert!(told.contains(wanted), "{told}");
    }
}
