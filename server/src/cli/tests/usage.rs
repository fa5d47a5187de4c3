//! Help pages, settings and wrong usage; nothing here needs a store.

use super::*;

#[test]
fn help_pages_show_settings_examples_and_exit_codes() {
    let help = ran(&["--help"]).text();
    for wanted in [
        "serve",
        "doc",
        "backup",
        "Exit codes",
        "DRIFTLESS_RELAY=durable driftless serve",
    ] {
        assert!(help.contains(wanted), "{wanted} in\n{help}");
    }
    let serve = ran(&["serve", "--help"]).text();
    for setting in config::TABLE {
        assert!(serve.contains(&setting.flag()), "{}", setting.name);
        assert!(serve.contains(&setting.environment()), "{}", setting.name);
    }
    assert!(serve.contains("Limits on what clients send"));
    let doc = ran(&["doc", "--help"]).text();
    assert!(doc.contains("admin socket") && doc.contains("driftless doc export"));
    assert!(doc.contains("DRIFTLESS_DATA"));
    assert!(ran(&["--version"]).text().starts_with("driftless 0."));
}

#[test]
fn config_prints_what_takes_effect_and_why() {
    let environment = vec![("DRIFTLESS_DATA", "/srv/d")];
    let printed = ran_with(&["config", "--relay", "durable"], &environment, b"").text();
    assert!(printed.contains("relay = \"durable\""), "{printed}");
    assert!(printed.contains("# flag --relay"), "{printed}");
    assert!(
        printed.contains("# environment variable DRIFTLESS_DATA"),
        "{printed}"
    );
    let json = ran_with(&["config", "--json"], &environment, b"").json();
    assert_eq!(json["data"]["value"], "/srv/d");
    assert_eq!(json["data"]["origin"], "environment");
    assert_eq!(json["document_bytes_max"]["value"], 33_554_432);
}

#[test]
fn an_unguarded_port_is_printed_but_refused() {
    let exposed = ran(&["config", "--listen", "0.0.0.0:8080"]);
    assert!(exposed.failed(EXIT_USAGE).contains("--insecure-open"));
    assert!(String::from_utf8_lossy(&exposed.output).contains("0.0.0.0:8080"));
    let refused = ran(&["serve", "--listen", "0.0.0.0:8080"]);
    assert!(refused.failed(EXIT_USAGE).contains("--auth-keys"));
    ran(&["config", "--listen", "0.0.0.0:8080", "--insecure-open"]).text();
    ran(&["config", "--listen", "0.0.0.0:8080", "--insecure-open=true"]).text();
}

#[test]
fn an_operators_shell_may_hold_the_secrets_of_the_server_and_nothing_else_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().to_str().unwrap();
    let secret = "a secret of the server, 32 bytes long";
    let environment = vec![
        ("DRIFTLESS_AUTH_HOOK_SECRET", secret),
        ("DRIFTLESS_TLS_KEY", "key.pem"),
    ];
    for command in [["access", "list"], ["session", "list"], ["doc", "list"]] {
        let arguments = [&command[..], &["--data", data]].concat();
        let ran = ran_with(&arguments, &environment, b"");
        assert!(!ran.failed(EXIT_NOT_FOUND).contains("hook"));
    }
    let refused = ran_with(&["serve", "--data", data], &environment, b"");
    assert!(refused.failed(EXIT_USAGE).contains("belong together"));
}

#[test]
fn repeated_lists_are_collected() {
    let arguments = ["config", "--json", "--allow-origin", "https://a.example"];
    let more = ["--allow-origin", "https://b.example"];
    let json = ran(&[&arguments[..], &more].concat()).json();
    let wanted = serde_json::json!(["https://a.example", "https://b.example"]);
    assert_eq!(json["allow_origin"]["value"], wanted);
    let arguments = ["config", "--json", "--proxy-protocol-from", "10.0.0.5"];
    let more = ["--proxy-protocol-from", "fd00::/8,::1"];
    let json = ran(&[&arguments[..], &more].concat()).json();
    let wanted = serde_json::json!(["10.0.0.5", "fd00::/8", "::1"]);
    assert_eq!(json["proxy_protocol_from"]["value"], wanted);
}

#[test]
fn wrong_usage_is_told_with_code_2() {
    let table: [(&[&str], &str); 8] = [
        (&[], "Usage"),
        (&["sevre"], "serve"),
        (&["serve", "--rely", "durable"], "--relay"),
        (
            &["serve", "--relay", "fast"],
            "`relay` is \"fast\" (from flag --relay)",
        ),
        (&["serve", "--relay"], "--relay"),
        (
            &["config", "--relay", "durable", "--relay", "durable"],
            "multiple times",
        ),
        (&["doc", "export", "a", "--root", "body"], "--format text"),
        (&["doc", "export", "a", "--json"], "--format json"),
    ];
    for (arguments, wanted) in table {
        let failed = ran(arguments);
        let told = failed.failed(EXIT_USAGE);
        assert!(told.contains(wanted), "{wanted} in\n{told}");
        assert!(failed.output.is_empty());
    }
    let environment = vec![("DRIFTLESS_HISTROY", "7d")];
    let told = ran_with(&["doc", "list"], &environment, b"");
    assert!(told.failed(EXIT_USAGE).contains("DRIFTLESS_HISTORY"));
}

#[test]
fn commands_on_a_folder_without_documents_create_nothing() {
    let parent = tempfile::tempdir().unwrap();
    let data = parent.path().join("data");
    for arguments in [
        &["doc", "list"][..],
        &["doc", "delete", "a"],
        &["doc", "verify"],
        &["backup", "/nowhere/b.db"],
    ] {
        let told = ran_on(&data, arguments);
        assert!(
            told.failed(EXIT_NOT_FOUND).contains("--data"),
            "{arguments:?}"
        );
        assert!(!data.exists());
    }
}

#[test]
fn a_binary_update_is_not_printed_to_a_terminal() {
    let mut output = Vec::new();
    let mut errors = Vec::new();
    let mut context = Context {
        environment: &Variables::new(),
        input: &mut &b""[..],
        output: &mut output,
        output_is_terminal: true,
        errors: &mut errors,
        errors_is_terminal: false,
    };
    let arguments = ["driftless", "doc", "export", "a"].map(Into::into);
    assert_eq!(run(arguments, &mut context, never_serve), EXIT_USAGE);
    assert!(String::from_utf8(errors).unwrap().contains("-o FILE"));
}

#[test]
fn a_reader_that_has_seen_enough_is_no_error() {
    struct Closed;
    impl Write for Closed {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut errors = Vec::new();
    let mut context = Context {
        environment: &Variables::new(),
        input: &mut &b""[..],
        output: &mut Closed,
        output_is_terminal: false,
        errors: &mut errors,
        errors_is_terminal: false,
    };
    let arguments = ["driftless", "config"].map(Into::into);
    assert_eq!(run(arguments, &mut context, never_serve), EXIT_DONE);
    assert!(errors.is_empty());
}

#[test]
fn names_cannot_move_the_cursor() {
    assert_eq!(
        print::safe("a/ü\u{1b}[2J\u{202e}\n"),
        "a/ü\\u{1b}[2J\\u{202e}\\n"
    );
}
