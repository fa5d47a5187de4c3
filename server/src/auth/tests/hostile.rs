//! Tokens that must not open anything, each with its answer.

use std::fmt::Write as _;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, DecodingKey};
use proptest::prelude::*;
use ring::hmac;
use serde_json::{Value as Json, json};

use super::vectors::{file, text, vectors};
use super::*;
use crate::auth::keys::{Key, KeySet};

fn encoded(part: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(part)
}

/// A token with this header and these claims as they are, signed with `secret` by HMAC.
fn signed(header: &str, claims: &[u8], secret: &[u8]) -> String {
    let message = format!("{}.{}", encoded(header.as_bytes()), encoded(claims));
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
    let signature = encoded(hmac::sign(&key, message.as_bytes()).as_ref());
    format!("{message}.{signature}")
}

const HS256: &str = r#"{"alg":"HS256"}"#;
const SECONDS: u64 = NOW_MS / 1_000;

fn claims(change: impl FnOnce(&mut Json)) -> String {
    let mut claims = json!({ "sub": "ada", "exp": SECONDS + 60, "aud": "here", "iss": "me",
        "driftless.docs": { "*": "write" } });
    change(&mut claims);
    signed(HS256, claims.to_string().as_bytes(), SECRET.as_bytes())
}

fn strict() -> Authority {
    let flags = [
        ("auth_secret", SECRET),
        ("auth_audience", "here"),
        ("auth_issuer", "me"),
    ];
    authority(&flags).0
}

fn refusal(token: &str) -> Denial {
    decided(&strict(), "a", token).unwrap_err()
}

#[test]
fn claims_decide() {
    assert!(decided(&strict(), "a", &claims(|_| {})).is_ok());
    let set = |name: &'static str, value: Json| claims(move |claims| claims[name] = value);
    let without = |name: &str| {
        claims(|claims| {
            claims.as_object_mut().unwrap().remove(name);
        })
    };
    let table = [
        (set("exp", json!(SECONDS)), Denial::Expired),
        (set("exp", json!(SECONDS - 1)), Denial::Expired),
        (set("exp", json!(0)), Denial::Expired),
        (without("exp"), Denial::Malformed),
        (
            set("exp", json!((SECONDS + 60).to_string())),
            Denial::Malformed,
        ),
        (set("exp", json!(-1)), Denial::Malformed),
        (set("exp", json!(u64::MAX)), Denial::Malformed),
        (set("exp", json!(NOW_MS + 60_000)), Denial::Malformed),
        (set("exp", json!(1e300)), Denial::Malformed),
        (set("exp", json!([SECONDS + 60])), Denial::Malformed),
        (set("exp", Json::Null), Denial::Malformed),
        (set("nbf", json!(SECONDS + 6)), Denial::NotYetValid),
        (set("nbf", json!("now")), Denial::Malformed),
        (set("aud", json!("there")), Denial::WrongAudience),
        (set("aud", json!(["there", "Here"])), Denial::WrongAudience),
        (set("aud", json!([])), Denial::WrongAudience),
        (without("aud"), Denial::WrongAudience),
        (set("aud", json!({ "here": 1 })), Denial::Malformed),
        (set("iss", json!("you")), Denial::WrongIssuer),
        (without("iss"), Denial::WrongIssuer),
        (set("iss", json!(["me"])), Denial::Malformed),
        (without("driftless.docs"), Denial::NoRight),
        (
            set("driftless.docs", json!({ "b": "admin" })),
            Denial::NoRight,
        ),
        (
            set("driftless.docs", json!({ "*": "admin", "a": "none" })),
            Denial::NoRight,
        ),
        (
            set("driftless.docs", json!({ "*": "root" })),
            Denial::Malformed,
        ),
    ];
    for (token, wanted) in table {
        let claims = URL_SAFE_NO_PAD
            .decode(token.split('.').nth(1).unwrap())
            .unwrap();
        assert_eq!(
            refusal(&token),
            wanted,
            "{}",
            String::from_utf8_lossy(&claims)
        );
    }
    for good in [
        set("exp", json!(SECONDS as f64 + 0.5)),
        set("nbf", json!(SECONDS + 5)),
        set("aud", json!(["there", "here"])),
        without("sub"),
    ] {
        assert!(decided(&strict(), "a", &good).is_ok());
    }
}

#[test]
fn claims_are_not_looked_at_before_the_signature() {
    let mut expired = claims(|claims| claims["exp"] = json!(1));
    assert_eq!(refusal(&expired), Denial::Expired);
    expired.pop();
    expired.push('A');
    assert_ne!(refusal(&expired), Denial::Expired);
}

#[test]
fn texts_that_are_no_tokens_are_malformed() {
    let good = claims(|_| {});
    let parts: Vec<_> = good.split('.').collect();
    let [header, body, signature] = parts[..] else {
        panic!("three parts");
    };
    let good_claims = URL_SAFE_NO_PAD.decode(body).unwrap();
    let with_header = |header: &str| signed(header, &good_claims, SECRET.as_bytes());
    let with_claims = |claims: &[u8]| signed(HS256, claims, SECRET.as_bytes());
    let deep = "[".repeat(3_000) + &"]".repeat(3_000);
    let table = [
        ".".to_owned(),
        "..".into(),
        "...".into(),
        "hunter2".into(),
        "é.é.é".into(),
        format!("{header}.{body}"),
        format!("{header}.{body}.{signature}.{signature}"),
        format!("{header}.{body}.{signature}="),
        format!("{header}.{body}.{signature}\n"),
        format!(" {good}"),
        format!("Bearer {good}"),
        format!("{header}.{body}.{}", STANDARD.encode([0xff; 32])),
        format!("{}.{body}.{signature}", "!"),
        with_header("{}"),
        with_header(r#"{"alg":"none"}"#),
        with_header(r#"{"alg":"None"}"#),
        with_header(r#"{"alg":"hs256"}"#),
        with_header(r#"{"alg":["HS256"]}"#),
        with_header(r#"{"alg":"HS256","alg":"HS256"}"#),
        with_header(r#"{"alg":"HS256","kid":7}"#),
        with_header(r#"{"alg":"HS256","crit":["exp"]}"#),
        with_header(r#"{"alg":"HS256","crit":[]}"#),
        with_header(&format!(r#"{{"alg":"HS256","x":{deep}}}"#)),
        with_header("\u{feff}{}"),
        with_claims(b""),
        with_claims(b"\xff\xfe"),
        with_claims(b"null"),
        with_claims(b"[]"),
        with_claims(&[&good_claims[..], b"{}"].concat()),
        with_claims(br#"{"exp":4102444800,"exp":1,"driftless.docs":{"*":"write"}}"#),
        with_claims(format!(r#"{{"exp":4102444800,"driftless":{deep}}}"#).as_bytes()),
    ];
    for token in table {
        let start = token.get(..80).unwrap_or(&token);
        assert_eq!(refusal(&token), Denial::Malformed, "{start}");
    }
    assert_eq!(refusal(""), Denial::TokenMissing);
    assert_eq!(refusal(&format!("{header}.{body}.")), Denial::BadSignature);
    let unsigned = format!("{}.{body}.", encoded(br#"{"alg":"none"}"#));
    assert_eq!(refusal(&unsigned), Denial::Malformed);
}

#[test]
fn a_token_cut_anywhere_opens_nothing() {
    let good = claims(|_| {});
    let strict = strict();
    for end in 0..good.len() {
        assert!(decided(&strict, "a", &good[..end]).is_err(), "{end}");
    }
    for at in 0..good.len() {
        let mut changed = good.clone().into_bytes();
        changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
        let changed = String::from_utf8(changed).unwrap();
        assert!(decided(&strict, "a", &changed).is_err(), "{at}");
    }
}

#[test]
fn huge_claims_are_bounded_by_the_token() {
    let megabyte = claims(|claims| claims["x"] = "x".repeat(1 << 20).into());
    assert_eq!(Token::new(&megabyte), Err(Denial::TokenTooLarge));
    let mut many = String::new();
    for index in 0..700 {
        write!(many, r#""{index}*":"read","#).unwrap();
    }
    let many = format!(r#"{{"exp":4102444800,"driftless.docs":{{{many}"*":"none"}}}}"#);
    let token = signed(HS256, many.as_bytes(), SECRET.as_bytes());
    let (authority, _) = authority(&[("auth_secret", SECRET)]);
    assert_eq!(
        decided(&authority, "699/x", &token).unwrap().right,
        Right::Read
    );
    assert_eq!(decided(&authority, "x", &token), Err(Denial::NoRight));
}

#[test]
fn the_key_decides_on_the_algorithm() {
    let vectors = vectors();
    let good = json!({ "exp": SECONDS + 60, "driftless.docs": { "*": "write" } }).to_string();
    for algorithm in ["RS256", "ES256", "EdDSA"] {
        let vector = &vectors[algorithm];
        let pem = text(&vector["pem"]);
        let (_folder, path) = file(pem);
        let (authority, time) = authority(&[("auth_keys", &path)]);
        // The public key as a secret of HMAC, in all the forms a library might have seen it in.
        let der: Vec<u8> = {
            let lines = pem.lines().filter(|line| !line.starts_with('-'));
            STANDARD.decode(lines.collect::<String>()).unwrap()
        };
        let jwk = vector["jwk"].to_string();
        for secret in [
            pem.as_bytes(),
            pem.trim_end().as_bytes(),
            &der,
            jwk.as_bytes(),
        ] {
            for header in [
                HS256,
                r#"{"alg":"HS512"}"#,
                &format!(r#"{{"alg":"{algorithm}"}}"#),
            ] {
                // Past the pause after the last look for newer keys.
                time.advance(2_000);
                let token = signed(header, good.as_bytes(), secret);
                let runtime = tokio::runtime::Builder::new_current_thread().build();
                let runtime = runtime.unwrap();
                let decision = runtime.block_on(authority.decide(&question("a", &token)));
                let wanted = match header.contains("HS") {
                    true => Denial::UnknownKey,
                    false => Denial::BadSignature,
                };
                assert_eq!(decision, Err(wanted), "{algorithm} {header}");
            }
        }
    }
    // And a secret is no public key: the header of another algorithm finds no key.
    for other in ["RS256", "ES256", "EdDSA", "PS256", "HS384", "ES384"] {
        let header = format!(r#"{{"alg":"{other}"}}"#);
        let token = signed(&header, good.as_bytes(), SECRET.as_bytes());
        assert_eq!(refusal(&token), Denial::UnknownKey, "{other}");
    }
}

#[test]
fn a_kid_only_selects_among_the_configured_keys() {
    let vectors = vectors();
    let jwks = ["RS256", "ES256"].map(|algorithm| vectors[algorithm]["jwk"].clone());
    let (_folder, path) = file(json!({ "keys": jwks }).to_string());
    let (authority, _) = authority(&[("auth_keys", &path)]);
    assert!(decided(&authority, "a", text(&vectors["ES256"]["token"])).is_ok());
    let signer = |id: &str| {
        let mut jwk = vectors["ES256"]["privateJwk"].clone();
        jwk["kid"] = id.into();
        Signer::from_key(jwk.to_string().as_bytes()).unwrap()
    };
    // The id of a key of another algorithm: known, so that looking for more keys is no use.
    let token = signer("rs256").sign(&new_token()).unwrap();
    assert_eq!(
        decided(&authority, "team/a", &token),
        Err(Denial::UnknownKey)
    );
    // An embedded key, or a place to fetch one from, is not looked at.
    let header = json!({ "alg": "ES256", "kid": "es256", "jku": "http://127.0.0.1:1/",
        "jwk": vectors["EdDSA"]["jwk"] });
    let forged = signed(
        &header.to_string(),
        br#"{"exp":4102444800}"#,
        SECRET.as_bytes(),
    );
    assert_eq!(decided(&authority, "a", &forged), Err(Denial::BadSignature));
}

#[test]
fn the_number_of_keys_tried_is_bounded() {
    let secrets: Vec<String> = (0..30).map(|index| format!("{index:032}")).collect();
    let keys = secrets
        .iter()
        .map(|secret| json!({ "kty": "oct", "kid": secret, "k": encoded(secret.as_bytes()) }));
    let keys: Vec<_> = keys.collect();
    let (_folder, path) = file(json!({ "keys": keys }).to_string());
    let (authority, _) = authority(&[("auth_keys", &path)]);
    let good = json!({ "exp": SECONDS + 60, "driftless.docs": { "*": "write" } }).to_string();
    let by =
        |index: usize, header: &str| signed(header, good.as_bytes(), secrets[index].as_bytes());
    assert!(decided(&authority, "a", &by(KEYS_TRIED_MAX - 1, HS256)).is_ok());
    let named = format!(r#"{{"alg":"HS256","kid":"{}"}}"#, secrets[29]);
    assert!(
        decided(&authority, "a", &by(29, &named)).is_ok(),
        "by its id"
    );
    let beyond = decided(&authority, "a", &by(KEYS_TRIED_MAX, HS256));
    assert_eq!(beyond, Err(Denial::BadSignature));
}

#[test]
fn every_key_of_a_file_can_be_the_one_that_signed() {
    let secrets: Vec<String> = (0..18).map(|index| format!("{index:032}")).collect();
    let keys = |count: usize, named: usize| {
        let all = secrets[..count].iter().enumerate();
        let keys = all.map(|(index, secret)| {
            let mut key = json!({ "kty": "oct", "k": encoded(secret.as_bytes()) });
            if index >= named {
                key["kid"] = secret.as_str().into();
            }
            key
        });
        json!({ "keys": keys.collect::<Vec<_>>() }).to_string()
    };
    let good = json!({ "exp": SECONDS + 60, "driftless.docs": { "*": "write" } }).to_string();
    let by =
        |index: usize, header: &str| signed(header, good.as_bytes(), secrets[index].as_bytes());

    // Sixteen without an id, behind the secret of the settings.
    let (_folder, path) = file(keys(17, 16));
    let (authority, _) = authority(&[("auth_keys", &path), ("auth_secret", SECRET)]);
    for index in 0..16 {
        assert!(
            decided(&authority, "a", &by(index, HS256)).is_ok(),
            "{index}"
        );
    }
    let named = format!(r#"{{"alg":"HS256","kid":"{}"}}"#, secrets[16]);
    assert!(decided(&authority, "a", &by(16, &named)).is_ok());
    let elsewhere = r#"{"alg":"HS256","kid":"elsewhere"}"#;
    assert!(decided(&authority, "a", &by(15, elsewhere)).is_ok());

    let (_folder, path) = file(keys(18, 17));
    let settings = settings(&[("auth_keys", &path)]);
    let told = Authority::from_settings(&settings, ManualTime::default());
    let told = told.unwrap_err().to_string();
    assert!(told.contains("more than 16 keys without an id"), "{told}");
}

#[test]
fn the_key_that_is_named_is_tried_first() {
    let nameless: Vec<_> = (0..KEYS_TRIED_MAX)
        .map(|index| Key::new(None, Algorithm::HS256, secret(&format!("{index:032}"))))
        .collect();
    let named = Key::new(Some("one"), Algorithm::HS256, secret(SECRET));
    let sets = [KeySet::new(nameless), KeySet::new(vec![named])].map(Arc::new);
    let good = json!({ "exp": SECONDS + 60 }).to_string();
    let token = signed(
        r#"{"alg":"HS256","kid":"one"}"#,
        good.as_bytes(),
        SECRET.as_bytes(),
    );
    crypto::install();
    assert!(verify::authentic(&token, &sets).is_ok());
}

fn secret(text: &str) -> DecodingKey {
    DecodingKey::from_secret(text.as_bytes())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        if let Ok(token) = Token::from_bytes(&bytes) {
            prop_assert!(decided(&strict(), "a", token.reveal()).is_err());
        }
    }

    #[test]
    fn no_authentic_claims_make_it_panic(
        header in r#"\{"alg":"HS256"(,"(kid|typ|crit|x)":("a"|1|null|\[\]))?\}"#,
        claims in r#"\{("(exp|nbf|sub|aud|driftless|driftless\.docs)":([0-9]{1,20}|"a"|null|\{"\*":"(read|x)"\}|\[1\]|1e[0-9]{1,3}),?){0,6}\}"#,
    ) {
        let token = signed(&header, claims.as_bytes(), SECRET.as_bytes());
        let _ = decided(&strict(), "a", &token);
    }

    #[test]
    fn no_damage_to_a_good_token_opens_anything(at in 0_usize..200, bytes in "[A-Za-z0-9._-]{1,4}") {
        let good = claims(|_| {});
        let at = at.min(good.len());
        let damaged = format!("{}{bytes}{}", &good[..at], &good[at..]);
        prop_assert!(decided(&strict(), "a", &damaged).is_err());
    }
}
