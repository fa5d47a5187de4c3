//! Precedence, refusals, masking and the page of settings, by table.
#![allow(clippy::unwrap_used)]

use super::layers::{Origin, from_file};
use super::values::mask;
use super::*;

type Variables = Vec<(&'static str, &'static str)>;

/// Loads from flags, environment and the text of a file.
fn loaded(
    flags: &[(&str, &str)],
    environment: &[(&'static str, &'static str)],
    file: &str,
) -> Result<Loaded, ConfigError> {
    let mut layers = Flags::given(flags).layer();
    layers.extend(layers::from_environment(&environment.to_vec())?);
    layers.extend(from_file("t.toml", file)?);
    resolve(layers, 4)
}

fn refusal(
    flags: &[(&str, &str)],
    environment: &[(&'static str, &'static str)],
    file: &str,
) -> String {
    loaded(flags, environment, file).unwrap_err().to_string()
}

#[test]
fn defaults_are_what_the_table_says() {
    let settings = loaded(&[], &[], "").unwrap().settings;
    assert_eq!(settings.listen, "127.0.0.1:8080".parse().unwrap());
    assert_eq!(settings.document_bytes_max, 32 << 20);
    assert_eq!(settings.frame_bytes_max, (32 << 20) + (64 << 10));
    assert_eq!(settings.history_ms, 604_800_000);
    assert_eq!(settings.connections_per_address_max, 100_000);
    assert_eq!(settings.document_threads, 4);
    assert_eq!(settings.relay, RelayMode::Immediate);
    assert_eq!(settings.store, StoreLocation::Sqlite);
    assert_eq!(settings.config, None);
    assert!(settings.allow_origins.is_empty() && !settings.insecure_open);
    assert!(settings.proxy_protocol_from.is_empty());
    assert_eq!(
        resolve(Vec::new(), 64).unwrap().settings.document_threads,
        8
    );
    assert_eq!(resolve(Vec::new(), 0).unwrap().settings.http_workers, 1);
}

#[test]
fn flags_win_over_environment_over_file_over_default() {
    let flag = [("relay", "durable")];
    let variable = [("DRIFTLESS_RELAY", "immediate")];
    let file = "# first line\nrelay = \"durable\"\n";
    let from_file = Origin::File {
        path: "t.toml".into(),
        line: 2,
    };
    let from_variable = Origin::Environment("DRIFTLESS_RELAY".into());
    type Case<'a> = (
        &'a [(&'a str, &'a str)],
        Variables,
        &'a str,
        RelayMode,
        Origin,
    );
    let table: [Case<'_>; 4] = [
        (
            &flag,
            variable.to_vec(),
            file,
            RelayMode::Durable,
            Origin::Flag("--relay".into()),
        ),
        (
            &[],
            variable.to_vec(),
            file,
            RelayMode::Immediate,
            from_variable,
        ),
        (&[], Vec::new(), file, RelayMode::Durable, from_file),
        (&[], Vec::new(), "", RelayMode::Immediate, Origin::Default),
    ];
    for (flags, environment, file, wanted, origin) in table {
        let loaded = loaded(flags, &environment, file).unwrap();
        assert_eq!(loaded.settings.relay, wanted, "{origin}");
        let entry = loaded.effective.iter().find(|known| known.name == "relay");
        assert_eq!(entry.unwrap().origin, origin);
    }
}

#[test]
fn a_derived_default_follows_what_it_derives_from() {
    let settings = loaded(&[("document_bytes_max", "64MiB")], &[], "")
        .unwrap()
        .settings;
    assert_eq!(settings.frame_bytes_max, (64 << 20) + (64 << 10));
    let settings = loaded(&[("connections_max", "50")], &[], "")
        .unwrap()
        .settings;
    assert_eq!(settings.connections_per_address_max, 50);
}

#[test]
fn every_kind_is_read_from_a_file() {
    let file = r#"
listen = "[::1]:9000"
data = "/var/lib/driftless"
history = "12h"
history_max = "1GB"
document_bytes_max = 1048576
keepalive_ms = 15000
presence_grace_ms = "1500ms"
insecure_open = true
allow_origin = ["https://App.example.com", "http://localhost:5173"]
proxy_protocol_from = ["10.0.0.0/8", "::1"]
log_format = "json"
"#;
    let settings = loaded(&[], &[], file).unwrap().settings;
    assert_eq!(settings.listen, "[::1]:9000".parse().unwrap());
    assert_eq!(settings.history_ms, 43_200_000);
    assert_eq!(settings.history_bytes_max, 1_000_000_000);
    assert_eq!(settings.document_bytes_max, 1 << 20);
    assert_eq!(
        (settings.keepalive_ms, settings.presence_grace_ms),
        (15_000, 1_500)
    );
    assert!(settings.insecure_open);
    assert_eq!(
        settings.allow_origins,
        ["https://app.example.com", "http://localhost:5173"]
    );
    let balancers = ["10.0.0.0/8", "::1/128"].map(|range| range.parse().unwrap());
    assert_eq!(settings.proxy_protocol_from, balancers);
    assert_eq!(settings.log_format, LogFormat::Json);
}

#[test]
fn bad_values_name_the_setting_its_origin_and_what_is_expected() {
    let table = [
        (
            "relay",
            "fast",
            "`relay` is \"fast\" (from flag --relay); expected `immediate` or `durable`",
        ),
        (
            "document_bytes_max",
            "1KiB",
            "`document_bytes_max` is \"1KiB\" (from flag --document-bytes-max); expected 64KiB to 1GiB",
        ),
        (
            "keepalive_ms",
            "30s",
            "`keepalive_ms` is \"30s\" (from flag --keepalive-ms); expected 1s to 29s",
        ),
        (
            "history",
            "7",
            "`history` is \"7\" (from flag --history); expected a duration with its unit, such as 7d, 12h or 30m",
        ),
        (
            "connections_max",
            "-1",
            "`connections_max` is \"-1\" (from flag --connections-max); expected a whole number",
        ),
        (
            "listen",
            "8080",
            "`listen` is \"8080\" (from flag --listen); expected an IP address and a port, such as 127.0.0.1:8080 or [::1]:8080",
        ),
        (
            "insecure_open",
            "maybe",
            "`insecure_open` is \"maybe\" (from flag --insecure-open); expected `true` or `false`",
        ),
    ];
    for (name, value, wanted) in table {
        assert_eq!(refusal(&[(name, value)], &[], ""), wanted);
    }
    for value in [
        "*",
        "app.example.com",
        "https://a.example/path",
        "https://",
        "://x",
        "null",
    ] {
        assert!(
            refusal(&[("allow_origin", value)], &[], "").contains("without a path"),
            "{value}"
        );
    }
    for value in [
        "sqlite:/elsewhere.db",
        "sqlite://x",
        "postgres:host/db",
        "mysql:",
        "",
    ] {
        assert!(
            refusal(&[("store", value)], &[], "").contains("expected `sqlite:`"),
            "{value}"
        );
    }
}

#[test]
fn unknown_names_are_refused_with_the_nearest_known_one() {
    let table = [
        (
            vec![],
            "histroy = \"1d\"",
            "file t.toml, line 1, sets `histroy`, which is no setting; did you mean `history`?",
        ),
        (
            vec![],
            "\nallow-origin = []",
            "file t.toml, line 2, sets `allow-origin`, which is no setting; did you mean `allow_origin`?",
        ),
        (
            vec![],
            "[limits]\ndocument_bytes_max = 1",
            "file t.toml, line 1, sets `limits`, which is no setting; `driftless config` lists all settings",
        ),
        (
            vec![],
            "config = \"x\"",
            "file t.toml, line 1, sets `config`, which is no setting; `driftless config` lists all settings",
        ),
        (
            vec![("DRIFTLESS_DOCUMENT_BYTE_MAX", "1")],
            "",
            "the environment sets `DRIFTLESS_DOCUMENT_BYTE_MAX`, which is no setting; did you mean `DRIFTLESS_DOCUMENT_BYTES_MAX`?",
        ),
    ];
    for (environment, file, wanted) in table {
        assert_eq!(refusal(&[], &environment, file), wanted);
    }
}

#[test]
fn variables_of_a_neighbouring_kubernetes_service_are_ignored() {
    let environment = [
        ("DRIFTLESS_PORT", "tcp://10.0.0.1:8080"),
        ("DRIFTLESS_PORT_8080_TCP_ADDR", "10.0.0.1"),
        ("DRIFTLESS_SERVICE_HOST", "10.0.0.1"),
        ("OTHER_LISTEN", "nonsense"),
    ];
    assert_eq!(loaded(&[], &environment, ""), loaded(&[], &[], ""));
    let looks_like_one = |variable: &str| {
        variable.starts_with("DRIFTLESS_PORT") || variable.starts_with("DRIFTLESS_SERVICE_")
    };
    assert!(
        !TABLE
            .iter()
            .any(|setting| looks_like_one(&setting.environment()))
    );
}

#[test]
fn broken_files_are_told_by_line_without_quoting_them() {
    let table = [
        ("listen = \"127.0.0.1:1\nrelay = 1", "line 1"),
        (
            "listen = \"127.0.0.1:1\"\nstore = \"postgres://u:hunter2@h",
            "line 2",
        ),
        ("relay = \"durable\"\nrelay = \"durable\"", "line 2"),
        ("history = 1.5", "neither a text"),
        ("allow_origin = [1]", "neither a text"),
        ("[listen]\na = 1", "neither a text"),
    ];
    for (file, wanted) in table {
        let told = refusal(&[], &[], file);
        assert!(told.contains(wanted), "{told}");
        assert!(!told.contains("hunter2"), "{told}");
    }
}

#[test]
fn settings_that_contradict_each_other_are_refused() {
    let table: [(&[(&str, &str)], &str); 5] = [
        (
            &[("tls_certificate", "c.pem")],
            "`tls_certificate` is set and `tls_key` is not",
        ),
        (
            &[("tls_key", "k.pem")],
            "`tls_key` is set and `tls_certificate` is not",
        ),
        (
            &[("frame_bytes_max", "1MiB")],
            "`frame_bytes_max` (1MiB) is below",
        ),
        (
            &[("peer_timeout_ms", "20s")],
            "`peer_timeout_ms` (20s) must be longer",
        ),
        (
            &[("commit_queue_bytes_max", "1MiB")],
            "`commit_queue_bytes_max` (1MiB) is below",
        ),
    ];
    for (flags, wanted) in table {
        let told = loaded(flags, &[], "").and_then(|loaded| check::guarded(&loaded.settings));
        let told = told.unwrap_err().to_string();
        assert!(told.starts_with(wanted), "{told}");
    }
}

#[test]
fn only_loopback_is_served_without_consent() {
    let table = [
        ("127.0.0.1:1", "false", true),
        ("127.9.9.9:1", "false", true),
        ("[::1]:1", "false", true),
        ("[::ffff:127.0.0.1]:1", "false", true),
        ("localhost:1", "false", true),
        ("0.0.0.0:1", "false", false),
        ("[::]:1", "false", false),
        ("192.168.0.1:1", "false", false),
        ("0.0.0.0:1", "true", true),
    ];
    for (listen, open, allowed) in table {
        let flags = [("listen", listen), ("insecure_open", open)];
        let settings = loaded(&flags, &[], "").unwrap().settings;
        let verdict = check::guarded(&settings);
        assert_eq!(verdict.is_ok(), allowed, "{listen}");
        if let Err(error) = verdict {
            assert!(error.to_string().contains("--insecure-open"), "{error}");
        }
    }
}

#[test]
fn whoever_authenticates_may_serve_everybody() {
    let secret = "x".repeat(32);
    let table: [&[(&str, &str)]; 5] = [
        &[("auth_secret", &secret)],
        &[("auth_keys", "keys.pem")],
        &[("auth_jwks_url", "https://id.example/")],
        &[("auth_signing_key", "key.pem")],
        &[
            ("auth_hook_url", "http://app/"),
            ("auth_hook_secret", &secret),
        ],
    ];
    for flags in table {
        let flags = [&[("listen", "0.0.0.0:1")], flags].concat();
        let settings = loaded(&flags, &[], "").unwrap().settings;
        assert_eq!(check::guarded(&settings), Ok(()), "{flags:?}");
    }
}

#[test]
fn secrets_are_masked_everywhere() {
    let table = [
        (
            "postgres://user:hunter2@host/db",
            "postgres://user:***@host/db",
        ),
        (
            "postgres://user:hun@ter2@host/db",
            "postgres://user:***@host/db",
        ),
        ("postgres://user@host/db", "postgres://user@host/db"),
        ("redis://:hunter2@host", "redis://:***@host"),
        (
            "pg://h/db?sslmode=require&password=hunter2",
            "pg://h/db?sslmode=require&password=***",
        ),
        ("sqlite:", "sqlite:"),
    ];
    for (text, wanted) in table {
        assert_eq!(mask(text), wanted);
    }
    let flags = [
        ("store", "postgres://user:hunter2@host/db"),
        ("bus", "redis://:hunter2@host"),
    ];
    let known = loaded(&flags, &[], "").unwrap();
    let told = [
        report::as_toml(&known.effective),
        report::as_json(&known.effective).to_string(),
        format!("{:?}", known.settings),
        refusal(&[("store", "mysql://user:hunter2@host/db")], &[], ""),
        refusal(&[("bus", "nats://user:hunter2@host")], &[], ""),
    ];
    for told in told {
        assert!(
            told.contains(":***@host") && !told.contains("hunter2"),
            "{told}"
        );
    }
    let secret = "hunter2".repeat(5);
    let hook = [
        ("auth_hook_url", "https://app.example/?token=hunter2"),
        ("auth_hook_secret", &secret),
    ];
    let hook = loaded(&hook, &[], "").unwrap();
    let key = loaded(&[("auth_secret", &secret)], &[], "").unwrap();
    let told = [
        report::as_toml(&key.effective),
        report::as_json(&key.effective).to_string(),
        format!("{:?}", key.settings),
        report::as_toml(&hook.effective),
        report::as_json(&hook.effective).to_string(),
        format!("{:?}", hook.settings),
        refusal(&[("auth_secret", "hunter2")], &[], ""),
        refusal(&[("auth_hook_secret", "hunter2")], &[], ""),
    ];
    for told in told {
        assert!(told.contains("***") && !told.contains("hunter2"), "{told}");
    }
}

#[test]
fn what_config_prints_can_be_used_as_a_file() {
    let flags = [
        ("document_bytes_max", "33MiB"),
        ("allow_origin", "https://a.example,http://b.example:1"),
        ("proxy_protocol_from", "10.0.0.5,fd00::/8"),
        ("insecure_open", "true"),
        ("history", "36h"),
        ("auth_jwks_url", "https://id.example.com/keys?a=b"),
        ("auth_audience", "here"),
        ("auth_keys", "keys.pem"),
        ("presence_identity_field", "verified"),
    ];
    let first = loaded(&flags, &[], "").unwrap();
    let printed = report::as_toml(&first.effective);
    assert!(printed.contains("# flag --history\n"), "{printed}");
    let second = loaded(&[], &[], &printed).unwrap();
    assert_eq!(first.settings, second.settings);
    let json = report::as_json(&first.effective);
    assert_eq!(json["history"]["value"], 129_600_000);
    assert_eq!(json["history"]["text"], "36h");
    assert_eq!(json["history"]["place"], "--history");
    assert_eq!(json["relay"]["origin"], "default");
    assert_eq!(json.as_object().unwrap().len(), TABLE.len());
}

#[test]
fn the_file_is_found_through_flag_and_environment_and_bounded() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("d.toml");
    std::fs::write(&path, "relay = \"durable\"").unwrap();
    let path = path.to_str().unwrap();
    let none: Variables = Vec::new();
    let by_flag = load(&Flags::given(&[("config", path)]), &none, 2).unwrap();
    assert_eq!(by_flag.settings.relay, RelayMode::Durable);
    let variable = vec![("DRIFTLESS_CONFIG", path)];
    let by_variable = load(&Flags::default(), &variable, 2).unwrap();
    assert_eq!(by_variable.settings.relay, RelayMode::Durable);

    let missing = load(&Flags::given(&[("config", "/no/such.toml")]), &none, 2);
    let told = missing.unwrap_err().to_string();
    assert!(told.starts_with("the settings file /no/such.toml cannot be read"));
    std::fs::write(path, "#".repeat(FILE_BYTES_MAX as usize + 1)).unwrap();
    let told = load(&Flags::given(&[("config", path)]), &none, 2).unwrap_err();
    assert!(told.to_string().contains("larger than 1MiB"));
}

#[test]
fn the_table_is_well_formed() {
    for (index, setting) in TABLE.iter().enumerate() {
        let name = setting.name;
        assert!(
            TABLE[..index].iter().all(|earlier| earlier.name != name),
            "{name} twice"
        );
        assert!(
            name.chars().all(|c| c.is_ascii_lowercase() || c == '_'),
            "{name}"
        );
        assert!(
            setting.help.ends_with('.') && setting.help.len() > 30,
            "{name}"
        );
    }
    let effective = loaded(&[], &[], "").unwrap().effective;
    let names: Vec<_> = effective.iter().map(|known| known.name).collect();
    let table: Vec<_> = TABLE.iter().map(|setting| setting.name).collect();
    assert_eq!(names, table);
}

#[test]
fn the_configuration_page_is_up_to_date() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/configuration.md");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(path, docs::page()).unwrap();
    }
    let written = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        written == docs::page(),
        "docs/configuration.md is out of date; run UPDATE_DOCS=1 cargo test -p driftless configuration"
    );
}
